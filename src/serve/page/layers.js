// What an image consists of, the largest layer first.

import { h } from "./dom.js";
import { bytes, count } from "./format.js";
import { copyButton, share } from "./parts.js";
import { visible } from "./text.js";

/** Instructions are kept with the words that shells need and people do not. */
function instruction(text) {
  const short = text.replace(/^\/bin\/sh -c #\(nop\)\s*/, "").replace(/\s*# buildkit$/, "");
  return visible(short === "" ? "(the image does not tell)" : short);
}

export class LayersView {
  #shown = null;

  constructor() {
    this.element = h("div", { class: "panel" });
  }

  show(model, hasEnded) {
    const key = `${model.attempt} ${model.images.length} ${hasEnded}`;
    if (key === this.#shown) return;
    this.#shown = key;
    if (model.images.length === 0) {
      this.element.replaceChildren(h("p", { class: "notice" },
        hasEnded ? "No image was put together." : "There is no image yet."));
      return;
    }
    this.element.replaceChildren(...model.images.map((image) => this.#image(image)));
  }

  #image({ platform, digest, layers }) {
    const total = layers.reduce((sum, layer) => sum + layer.size, 0);
    const own = layers.filter((layer) => !layer.is_base);
    const added = own.reduce((sum, layer) => sum + layer.size, 0);
    const sorted = [...layers].sort((one, other) => other.size - one.size);
    return h("section", {},
      h("h2", {}, visible(platform)),
      h("p", { class: "muted" }, `${count(layers.length, "layer", "layers")}, ${bytes(total)} compressed; `
        + `${count(own.length, "of them is", "of them are")} this build's, ${bytes(added)}.`),
      h("table", { class: "layers", role: "table" },
        h("caption", { class: "unseen" }, `Layers of ${visible(digest)} by size`),
        h("thead", { role: "rowgroup" }, h("tr", { role: "row" },
          ...["Size", "", "Made by", "From", "Digest"].map((text, index) =>
            h("th", { scope: "col", role: "columnheader", class: index === 0 ? "number" : null },
              text === "" ? h("span", { class: "unseen" }, "Share") : text)))),
        h("tbody", { role: "rowgroup" }, sorted.map((layer) => this.#layer(layer, total)))));
  }

  #layer(layer, total) {
    const digest = visible(layer.digest);
    return h("tr", { role: "row" },
      h("td", { class: "number", role: "cell" }, bytes(layer.size)),
      h("td", { role: "cell" }, share(layer.size, total, layer.is_base ? "base" : "")),
      h("td", { class: "code", role: "cell" }, instruction(String(layer.created_by))),
      h("td", { role: "cell", class: "muted" }, layer.is_base ? "base image" : "this build"),
      h("td", { class: "code", role: "cell" },
        h("span", { title: digest }, `${digest.slice(7, 19)} `), copyButton(`the digest ${digest.slice(7, 19)}`, digest)));
  }
}
