//! Who may do what.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::http::{self, Request, Response};
use super::{Shared, error};

/// How users log in, and the tokens they were given.
#[derive(Debug, Default)]
pub(super) struct Login {
    kind: Kind,
    header: String,
    anonymous_pull: bool,
    identity_token: Option<String>,
    /// Scopes by token.
    tokens: BTreeMap<String, Vec<String>>,
    issued: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Kind {
    #[default]
    Open,
    Basic,
    Bearer,
}

impl Login {
    pub(super) fn basic(user: &str, password: &str) -> Self {
        let header = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        Self { kind: Kind::Basic, header, ..Self::default() }
    }

    pub(super) fn bearer(user: &str, password: &str) -> Self {
        Self { kind: Kind::Bearer, ..Self::basic(user, password) }
    }

    pub(super) fn allow_anonymous_pull(&mut self) {
        self.anonymous_pull = true;
    }

    pub(super) fn accept_identity_token(&mut self, token: &str) {
        self.identity_token = Some(token.to_owned());
    }

    pub(super) fn expire_tokens(&mut self) {
        self.tokens.clear();
    }

    /// `GET` or `POST /token`.
    pub(super) fn token(&mut self, request: &Request) -> Response {
        let (is_known, scopes) = if request.method == "POST" {
            let given = http::values(&request.body, "refresh_token");
            let scopes = http::values(&request.body, "scope");
            let scopes = scopes.iter().flat_map(|scope| scope.split(' ')).map(str::to_owned).collect();
            match &self.identity_token {
                Some(token) => (given == [token.clone()], scopes),
                None => return Response::new(404),
            }
        } else {
            (request.header("authorization") == Some(&self.header), request.query("scope"))
        };
        let is_anonymous = request.method == "GET" && request.header("authorization").is_none();
        let scopes = match (is_known, is_anonymous && self.anonymous_pull) {
            (true, _) => scopes,
            (false, true) => scopes.into_iter().filter(|scope| scope.ends_with(":pull")).collect(),
            (false, false) => return error(401, "UNAUTHORIZED", "authentication required"),
        };
        self.issued += 1;
        let token = format!("token-{}", self.issued);
        self.tokens.insert(token.clone(), scopes);
        Response::new(200).body(json!({ "token": token, "expires_in": 300 }).to_string())
    }

    /// `None` when the request may pass; `rights` are repositories with `pull` or `push`.
    pub(super) fn refuse(
        &self,
        shared: &Shared,
        request: &Request,
        rights: &[(String, &str)],
    ) -> Option<Response> {
        let given = request.header("authorization");
        let (is_let_in, challenge) = match self.kind {
            Kind::Open => return None,
            Kind::Basic => (given == Some(&self.header), "Basic realm=\"fake\"".to_owned()),
            Kind::Bearer => {
                let token = given.and_then(|value| value.strip_prefix("Bearer "));
                let scopes = token.and_then(|token| self.tokens.get(token));
                let allows = |scopes: &Vec<String>| rights.iter().all(|right| is_in(right, scopes));
                let scope: Vec<_> = rights.iter().map(|(path, right)| scope(path, right)).collect();
                let (base, scope) = (shared.base(), scope.join(" "));
                let challenge = format!("Bearer realm=\"{base}/token\",service=\"fake\",scope=\"{scope}\"");
                (scopes.is_some_and(allows), challenge)
            }
        };
        let refusal = || error(401, "UNAUTHORIZED", "authentication required");
        (!is_let_in).then(|| refusal().header("WWW-Authenticate", challenge))
    }
}

fn scope(path: &str, right: &str) -> String {
    format!("repository:{path}:{}", if right == "push" { "pull,push" } else { right })
}

fn is_in((path, right): &(String, &str), scopes: &[String]) -> bool {
    scopes.iter().any(|scope| {
        let actions = scope.strip_prefix("repository:").and_then(|rest| rest.strip_prefix(path.as_str()));
        actions
            .and_then(|rest| rest.strip_prefix(':'))
            .is_some_and(|list| list.split(',').any(|one| one == *right))
    })
}
