// The page: one form for each thing that the model can do. Every word that people read comes from labels.json.

import { Model } from "./model.js";

const labels = await (await fetch(new URL("labels.json", import.meta.url))).json();
const say = (name, values = {}) =>
  Object.entries(values).reduce((text, [key, value]) => text.replaceAll(`{${key}}`, value), labels[name] ?? name);
const percent = (value) => value.toLocaleString(labels.language, { style: "percent", maximumFractionDigits: 1 });

const element = (tag, ...children) => {
  const made = document.createElement(tag);
  made.append(...children);
  return made;
};
const scored = (text, score) => {
  const number = element("span", ` ${score}`);
  number.className = "score";
  return element("li", text, number);
};
const listed = (items) => element("ol", ...items);

const TOOLS = {
  async fill(model, { text }) {
    const masks = await model.fill(text);
    if (!masks.length) return [say("no_mask")];
    return masks.flatMap((tokens, number) => [
      ...(masks.length > 1 ? [element("h4", say("mask", { number: number + 1 }))] : []),
      listed(tokens.map(({ label, score }) => scored(label, percent(score)))),
    ]);
  },
  async classify(model, { text }) {
    return [listed((await model.classify(text)).map(({ label, score }) => scored(label, percent(score))))];
  },
  async tag(model, { text }) {
    const spans = await model.tag(text);
    if (!spans.length) return [say("no_tags")];
    const parts = [];
    let at = 0;
    for (const { start, end, label } of spans) {
      parts.push(text.slice(at, start), element("mark", text.slice(start, end), " ", element("small", label)));
      at = end;
    }
    return [element("p", ...parts, text.slice(at))];
  },
  async nearest(model, { text, list }) {
    const lines = list.split("\n").filter((line) => line.trim());
    if (!lines.length) return [say("no_list")];
    const vectors = [];
    for (const line of lines) vectors.push(await vectorOf(model, line));
    const found = model.nearest(await vectorOf(model, text), vectors);
    return [listed(found.map(({ line, score }) => scored(lines[line], score.toFixed(3))))];
  },
};

const FOR_HEAD = { mlm: ["fill", "nearest"], vectors: ["nearest"], classes: ["classify"], tags: ["tag"], none: ["nearest"] };

const kept = new Map();
const vectorOf = async (model, line) => {
  if (!kept.has(line)) kept.set(line, await model.embed(line));
  return kept.get(line);
};

/** One thing that the model can do, as a form. */
const show = (model, tool) => {
  const made = document.getElementById("tool").content.cloneNode(true);
  const form = made.querySelector("form");
  const heading = form.querySelector("h2");
  heading.id = `${tool}-title`;
  form.setAttribute("aria-labelledby", heading.id);
  form.id = tool;
  heading.textContent = form.querySelector("button").textContent = say(tool);
  form.querySelector(".text span").textContent = say(`${tool}_text`);
  form.elements.text.value = model.facts.examples[tool] ?? "";
  if (tool === "nearest") {
    form.querySelector(".list").hidden = false;
    form.querySelector(".list span").textContent = say("nearest_list");
    form.elements.list.value = model.facts.lines.join("\n");
  } else form.querySelector(".list").remove();
  translate(form);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    answer(form, () => TOOLS[tool](model, { text: form.elements.text.value, list: form.elements.list?.value }));
  });
  document.getElementById("tools").append(made);
};

/** Run a tool and show what it found and how long it took. */
const answer = async (form, run) => {
  const [button, told, found] = ["button", ".told", ".found"].map((part) => form.querySelector(part));
  button.disabled = true;
  told.textContent = say("working");
  const started = performance.now();
  try {
    const parts = await run();
    told.textContent = say("took", { milliseconds: Math.round(performance.now() - started) });
    found.replaceChildren(...parts);
  } catch (error) {
    told.textContent = String(error.message ?? error);
    found.replaceChildren();
  } finally {
    button.disabled = false;
  }
};

const translate = (part) => {
  for (const place of part.querySelectorAll("[data-label]")) place.textContent = say(place.dataset.label);
};

const state = document.getElementById("state");
document.documentElement.lang = labels.language;
translate(document);
state.textContent = say("loading");
try {
  const started = performance.now();
  const model = await Model.load();
  const size = (model.facts.bytes / 1e6).toFixed(1);
  const milliseconds = Math.round(performance.now() - started);
  for (const tool of FOR_HEAD[model.facts.head]) show(model, tool);
  state.textContent = say("ready", { file: model.facts.file, size, milliseconds });
} catch (error) {
  state.textContent = say("failed", { reason: String(error.message ?? error) });
}
