// Asking for a token.

import { hasToken, keepToken } from "./api.js";
import { h } from "./dom.js";

/** The form; `done` is called when there is a token to try. */
export function tokenForm(done) {
  const wasWrong = hasToken();
  const token = h("input", {
    id: "token", type: "password", required: true, autocomplete: "off", spellcheck: "false", "aria-describedby": "token-note token-problem",
  });
  return h("form", {
    class: "create token", onsubmit: (event) => {
      event.preventDefault();
      const text = token.value.trim();
      if (text === "") return;
      keepToken(text);
      done();
    },
  },
  h("h1", {}, "Token"),
  h("p", {}, "This service answers those who have one of its tokens. It is the same that ", h("code", {}, "cooper remote"),
    " takes from ", h("code", {}, "COOPER_TOKEN"), "; who runs the service hands them out, with the file of ",
    h("code", {}, "--tokens"), "."),
  h("p", { class: "notice bad", role: "alert", id: "token-problem", hidden: !wasWrong },
    "The service does not know the last token, or not any more."),
  h("div", { class: "field" }, h("label", { for: "token" }, "Token"), token,
    h("p", { class: "muted", id: "token-note" }, "Kept in this tab until it is closed or the token is forgotten (sessionStorage), "
      + "and sent to this service only. What you see and may do here is what the token is good for.")),
  h("div", { class: "actions" }, h("button", { type: "submit", class: "primary" }, "Show builds")));
}
