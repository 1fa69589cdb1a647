//! From the text of `cooper.yaml` to what it means. All mistakes are told at once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_saphyr::{Location, Spanned};
use url::Url;

use super::file::{self, End, Text};
use super::place::{Findings, unreadable};
use super::rule::Rule;
use super::template::{MAX_NAME, Template, Values};
use super::{Config, Hook, NotifyPlace, Provider, Repository, SecretPlace, Statuses};
use crate::dockerfile::{Diagnostics, Source, nearest};
use crate::image::ImageRef;
use crate::serve::access::Patterns;
use crate::serve::build::State;
use crate::serve::request::{Context, GitContext, InvalidRequest, Request};
use crate::units;

/// The longest name of a hook: it is part of an address.
const MAX_HOOK: usize = 64;

pub(super) fn config(source: &Arc<Source>, directory: &Path) -> Result<Config, Diagnostics> {
    // A file of some hundred repositories needs a fraction of this, and nobody needs aliases by the thousand.
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 200_000,
            max_nodes: 100_000,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_recorded_anchor_events: 50_000,
            max_recorded_anchor_bytes: 4 << 20,
            max_depth: 16,
            max_documents: 1,
            max_total_scalar_bytes: 4 << 20,
        },
        with_snippet: false,
        strict_booleans: true,
        reject_unsupported_tags: true,
    };
    let file: file::File = serde_saphyr::from_str_with_options(source.text(), options)
        .map_err(|error| unreadable(source, &error))?;
    let mut reader = Reader { findings: Findings::new(source), directory };
    let config = reader.config(file);
    reader.findings.finish(config)
}

struct Reader<'a> {
    findings: Findings,
    directory: &'a Path,
}

impl Reader<'_> {
    fn config(&mut self, file: file::File) -> Config {
        let mut config = Config::default();
        for hook in file.hooks {
            if config.hook(&hook.name.value).is_some() {
                let message = format!("there are two hooks with the name `{}`", hook.name.value);
                self.findings.at(&hook.name, message, "give one of them another name");
            }
            config.hooks.extend(self.hook(hook));
        }
        for repository in file.repositories {
            if config.repository(&repository.hook.value, &repository.name.value).is_some() {
                let message = format!("`{}` is there already", repository.name.value);
                self.findings.at(&repository.name, message, "put its `builds` together");
            }
            let repository = self.repository(repository, &config.hooks);
            config.repositories.push(repository);
        }
        config.notify = self.notify(file.notify);
        config.signing_secret = file.signing_secret.and_then(|secret| self.secret(&secret));
        config
    }

    fn hook(&mut self, hook: file::Hook) -> Option<Hook> {
        let name = hook.name.value.clone();
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if name.is_empty() || name.len() > MAX_HOOK || !name.bytes().all(is_good) {
            let message = format!("`{name}` cannot be the end of an address");
            let advice = format!("up to {MAX_HOOK} letters, digits, `-` and `_`");
            self.findings.at(&hook.name, message, advice);
        }
        let provider = hook.provider.value;
        let secret = self.secret(&hook.secret);
        let statuses = hook.statuses.and_then(|statuses| self.statuses(provider, statuses));
        Some(Hook { name, provider, secret: secret?, statuses })
    }

    fn statuses(&mut self, provider: Provider, statuses: Spanned<file::Statuses>) -> Option<Statuses> {
        let usual = match provider {
            Provider::Github => "https://api.github.com",
            Provider::Gitlab => "https://gitlab.com/api/v4",
            Provider::Gitea => "",
            Provider::Generic => {
                let advice = "leave `statuses` away, and use `notify`";
                self.findings.at(&statuses, "a generic hook has nobody who takes statuses", advice);
                return None;
            }
        };
        let place = statuses.referenced;
        let statuses = statuses.value;
        let api = match &statuses.api {
            Some(text) => self.address(text),
            None if usual.is_empty() => {
                let advice = "write `api: https://gitea.example.com/api/v1`";
                self.findings.add(place, "`api` is missing: every Gitea has its own address", advice);
                None
            }
            None => Url::parse(usual).ok(),
        };
        let token = self.secret(&statuses.token);
        let label = statuses.label.map_or_else(|| "cooper".to_owned(), |text| text.value);
        Some(Statuses { token: token?, api: api?, label })
    }

    fn secret(&mut self, secret: &Spanned<file::Secret>) -> Option<SecretPlace> {
        match (&secret.value.file, &secret.value.env) {
            (Some(path), None) if !path.is_empty() => Some(SecretPlace::File(self.directory.join(path))),
            (None, Some(name)) if !name.is_empty() && !name.contains('=') => {
                Some(SecretPlace::Env(name.clone()))
            }
            _ => {
                let advice = "write either `file: PATH` or `env: NAME`; the secret itself has no place here";
                self.findings.at(secret, "this does not say where a secret is", advice);
                None
            }
        }
    }

    fn address(&mut self, text: &Text) -> Option<Url> {
        let advice = "write https://HOST/PATH or http://HOST/PATH, without a login or a fragment";
        match Url::parse(&text.value) {
            Ok(url)
                if matches!(url.scheme(), "http" | "https")
                    && url.username().is_empty()
                    && url.password().is_none()
                    && url.fragment().is_none() =>
            {
                Some(url)
            }
            _ => {
                self.findings.at(text, "this is no address", advice);
                None
            }
        }
    }

    fn notify(&mut self, places: Vec<file::Notify>) -> Vec<NotifyPlace> {
        let all = [State::Succeeded, State::Failed, State::Cancelled];
        let mut found = Vec::new();
        for place in places {
            let url = self.address(&place.url);
            let secret = place.secret.and_then(|secret| self.secret(&secret));
            let on = match place.on {
                Some(on) if on.value.is_empty() => {
                    self.findings.at(
                        &on,
                        "nobody is told of anything",
                        "leave `on` away to tell of all ends",
                    );
                    continue;
                }
                Some(on) => on.value.into_iter().map(state).collect(),
                None => all.to_vec(),
            };
            found.extend(url.map(|url| NotifyPlace { url, secret, on }));
        }
        found
    }

    fn repository(&mut self, repository: file::Repository, hooks: &[Hook]) -> Repository {
        let hook = repository.hook.value.clone();
        let is_known = hooks.iter().any(|known| known.name == hook);
        if !is_known {
            let names: Vec<&str> = hooks.iter().map(|hook| hook.name.as_str()).collect();
            let advice = match nearest(&hook, &names) {
                Some(name) => format!("did you mean `{name}`?"),
                None => "name one of `hooks`".to_owned(),
            };
            self.findings.at(&repository.hook, format!("there is no hook `{hook}`"), advice);
        }
        let name = repository.name.value.clone();
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte);
        let parts_are_good = name.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if !parts_are_good || name.len() > 200 || !name.bytes().all(is_good) {
            let advice = "write it as the provider does, like `shop/app`";
            self.findings.at(&repository.name, format!("`{name}` is no name of a repository"), advice);
        }
        if repository.builds.value.is_empty() {
            self.findings.at(&repository.builds, "there are no builds", "add one with `destinations`");
        }
        let mut rules: Vec<Rule> = Vec::new();
        for build in repository.builds.value {
            let place = build.referenced;
            let project = build.value.project.clone().or_else(|| repository.project.clone());
            let Some(rule) = self.rule(build, &repository.url, project.as_ref(), &name) else { continue };
            if rules.iter().any(|other| other.name == rule.name) {
                let message = format!("there are two builds with the name `{}`", rule.name);
                self.findings.add(place, message, "give each build of a repository its own `name`");
            }
            rules.push(rule);
        }
        let notify = self.notify(repository.notify);
        let has_statuses = repository.statuses.unwrap_or(true);
        Repository { hook, name, has_statuses, notify, rules }
    }

    fn patterns(&mut self, texts: &[Text], all_if_none: bool) -> Option<Patterns> {
        if texts.is_empty() && all_if_none {
            return Some(Patterns::all());
        }
        match Patterns::new(texts.iter().map(|text| text.value.clone())) {
            Ok(patterns) => Some(patterns),
            Err(wrong) => {
                let advice = "`*` is anything but `/`, `**` anything; a `[` has its `]`";
                if let Some(text) = texts.iter().find(|text| text.value == wrong) {
                    self.findings.at(text, format!("`{wrong}` is no pattern"), advice);
                }
                None
            }
        }
    }

    fn template(&mut self, text: &Text) -> Option<Template> {
        Template::parse(&text.value)
            .map_err(|error| self.findings.at(text, error.to_string(), error.advice()))
            .ok()
    }

    fn templates(&mut self, texts: &BTreeMap<String, Text>) -> Option<BTreeMap<String, Template>> {
        let templates: Vec<Option<(String, Template)>> =
            texts.iter().map(|(name, text)| Some((name.clone(), self.template(text)?))).collect();
        templates.into_iter().collect()
    }

    fn rule(
        &mut self,
        build: Spanned<file::Build>,
        url: &Text,
        project: Option<&Text>,
        repository: &str,
    ) -> Option<Rule> {
        let place = build.referenced;
        let build = build.value;
        if build.branches.is_empty() && build.tags.is_empty() {
            let advice = "add `branches: [main]`, or `tags: [\"v*\"]`";
            self.findings.add(place, "this build is for no branch and no tag", advice);
        }
        self.units(&build);
        let name = build.name.as_ref().map_or_else(|| "default".to_owned(), |text| text.value.clone());
        if name.is_empty() || name.len() > 100 || name.chars().any(char::is_control) {
            let advice = "up to 100 characters";
            self.findings.add(place, "this cannot be the name of a build", advice);
        }
        let branches = self.patterns(&build.branches, false);
        let tags = self.patterns(&build.tags, false);
        let paths = self.patterns(&build.paths, true);
        let ignore_paths = self.patterns(&build.ignore_paths, false);
        let build_args = self.templates(&build.build_args);
        let labels = self.templates(&build.labels);
        let destinations = self.destinations(place, &build);
        let value = |text: &Option<Text>| text.as_ref().map(|text| text.value.clone());
        let values = |texts: &[Text]| texts.iter().map(|text| text.value.clone()).collect::<Vec<_>>();
        let request = Request {
            dockerfile: value(&build.dockerfile),
            target: value(&build.target),
            platforms: values(&build.platforms),
            no_cache: build.no_cache,
            cache_from: values(&build.cache_from),
            cache_to: values(&build.cache_to),
            project: Some(project.map_or_else(|| repository.to_owned(), |text| text.value.clone())),
            priority: build.priority,
            timeout: value(&build.timeout),
            cpus: value(&build.cpus),
            memory: value(&build.memory),
            set_image: values(&build.set_image),
            ..Request::default()
        };
        let git = GitContext {
            url: url.value.clone(),
            reference: None,
            commit: None,
            directory: value(&build.context),
        };
        let rule = Rule {
            name,
            branches: branches?,
            tags: tags?,
            paths: paths?,
            ignore_paths: ignore_paths?,
            request,
            git,
            destinations: destinations?,
            build_args: build_args?,
            labels: labels?,
        };
        // As the first push would find it.
        let tag = "registry.example.com/a".parse::<ImageRef>().ok()?;
        let sample = Request {
            context: Some(Context::Git(rule.git.clone())),
            tags: vec![tag],
            build_args: filled(&rule.build_args),
            labels: filled(&rule.labels),
            ..rule.request.clone()
        };
        if let Err(error) = sample.validate() {
            let place = invalid_place(&error, &build, url, project).unwrap_or(place);
            self.findings.add(place, error.to_string(), "docs/service.md says what a request can have");
        }
        Some(rule)
    }

    fn units(&mut self, build: &file::Build) {
        let mut check = |text: &Option<Text>, problem: Option<units::ParseUnitError>| {
            if let (Some(text), Some(problem)) = (text, problem) {
                let message = problem.to_string();
                let (message, advice) = message.split_once("; ").unwrap_or((&message, "write it otherwise"));
                self.findings.at(text, message, advice);
            }
        };
        let value = |text: &Option<Text>| text.as_ref().map(|text| text.value.clone());
        check(&build.timeout, value(&build.timeout).and_then(|text| units::seconds(&text).err()));
        check(&build.cpus, value(&build.cpus).and_then(|text| units::millicpus(&text).err()));
        check(&build.memory, value(&build.memory).and_then(|text| units::bytes(&text).err()));
    }

    fn destinations(&mut self, place: Location, build: &file::Build) -> Option<Vec<Template>> {
        if build.destinations.is_empty() {
            let advice = "add a name like registry.example.com/shop/app:{branch}";
            self.findings.add(place, "`destinations` is empty: the image has nowhere to go", advice);
            return None;
        }
        let mut templates = Vec::new();
        for text in &build.destinations {
            let Some(template) = self.template(text) else { continue };
            self.check_destination(text, &template);
            templates.push(template);
        }
        if templates.len() < build.destinations.len() {
            return None;
        }
        for (patterns, what, values) in
            [(&build.branches, "a branch", sample('1').0), (&build.tags, "a tag", sample('1').1)]
        {
            let has_none = templates.iter().all(|template| template.fill(&values).is_none());
            if !patterns.is_empty() && has_none {
                let message = format!("for {what}, none of `destinations` can be filled");
                self.findings.add(place, message, "add one with {sha} or {short_sha}");
            }
        }
        Some(templates)
    }

    /// Whatever is pushed, the image goes to the same repository.
    fn check_destination(&mut self, text: &Text, template: &Template) {
        let mut repositories = Vec::new();
        for values in ['1', '2'].into_iter().flat_map(|digit| <[Values; 2]>::from(sample(digit))) {
            let Some(name) = template.fill(&values) else { continue };
            match name.parse::<ImageRef>() {
                Ok(image) if image.digest().is_none() => repositories.push(image.repository().clone()),
                Ok(_) => {
                    self.findings.at(text, "only the build can tell the digest", "give a tag instead");
                    return;
                }
                Err(error) => {
                    let advice = "write REGISTRY/REPOSITORY:TAG with placeholders in TAG only";
                    let error = crate::pipeline::describe(&error);
                    self.findings.at(text, format!("filled for a push, {error}"), advice);
                    return;
                }
            }
        }
        if repositories.windows(2).any(|pair| pair[0] != pair[1]) {
            let advice = "put them behind the `:`; who may push must not choose the repository";
            self.findings.at(text, "placeholders have their place in the tag", advice);
        }
    }
}

/// What a push may say at its longest: of a branch, and of a tag. Digits could also be those of a port.
fn sample(digit: char) -> (Values, Values) {
    let name = digit.to_string().repeat(MAX_NAME);
    let commit = digit.to_string().repeat(64);
    let values = |branch: Option<&String>, tag: Option<&String>| Values {
        commit: commit.clone(),
        branch: branch.cloned(),
        tag: tag.cloned(),
    };
    (values(Some(&name), None), values(None, Some(&name)))
}

fn filled(templates: &BTreeMap<String, Template>) -> BTreeMap<String, String> {
    let values = sample('1').0;
    templates.iter().map(|(name, template)| (name.clone(), template.fill_all(&values))).collect()
}

fn state(end: End) -> State {
    match end {
        End::Succeeded => State::Succeeded,
        End::Failed => State::Failed,
        End::Cancelled => State::Cancelled,
    }
}

/// Where the field is that an error is about.
fn invalid_place(
    error: &InvalidRequest,
    build: &file::Build,
    url: &Text,
    project: Option<&Text>,
) -> Option<Location> {
    let (field, value) = match error {
        InvalidRequest::Value { field, value, .. } => (*field, value.as_str()),
        InvalidRequest::TooLong { field, .. } => (*field, ""),
        _ => return None,
    };
    let of_list = |texts: &[Text]| {
        texts.iter().find(|text| text.value == value).or(texts.first()).map(|text| text.referenced)
    };
    let of_map = |texts: &BTreeMap<String, Text>| {
        texts.get(value).or(texts.values().next()).map(|text| text.referenced)
    };
    let of_text = |text: &Option<Text>| text.as_ref().map(|text| text.referenced);
    match field {
        "platforms" => of_list(&build.platforms),
        "set_image" => of_list(&build.set_image),
        "cache_from" => of_list(&build.cache_from),
        "cache_to" => of_list(&build.cache_to),
        "build_args" => of_map(&build.build_args),
        "labels" => of_map(&build.labels),
        "dockerfile" => of_text(&build.dockerfile),
        "target" => of_text(&build.target),
        "context.git.url" => Some(url.referenced),
        "context.git.directory" => of_text(&build.context),
        "project" => project.map(|text| text.referenced),
        _ => None,
    }
}
