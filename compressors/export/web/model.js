// An exported model in the browser: the same answers as `ndogo_run` in Python gives, which is the text to compare with.

import { InferenceSession, Tensor, env } from "./vendor/ort.mjs";
import { Tokenizer } from "./tokenizer.js";

const MASK = "<mask>";
const SPACE = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/u;
const LETTER = /[\p{L}\p{M}\p{N}_]/u;
const INSIDE = /['’ʼ\-‐]/u;

const fetched = async (name, as) => {
  const answer = await fetch(new URL(name, import.meta.url));
  if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
  return answer[as]();
};

/** The bytes of a file that lies gzipped; some servers unpack it on the way. */
const unpacked = async (name) => {
  const raw = await fetched(name, "arrayBuffer");
  const [first, second] = new Uint8Array(raw, 0, 2);
  if (first !== 0x1f || second !== 0x8b) return raw;
  return new Response(new Blob([raw]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
};

const softmax = (values) => {
  const most = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const risen = Float64Array.from(values, (value) => Math.exp(value - most));
  const sum = risen.reduce((a, b) => a + b, 0);
  return risen.map((value) => value / sum);
};

/** Positions of the largest values, largest first. */
const best = (values, count) => [...values.keys()].sort((a, b) => values[b] - values[a] || a - b).slice(0, count);

/** Start and end of each word: letters, marks and digits together; every other sign alone; no spaces. */
export const wordsOf = (text) => {
  const signs = [...text];
  const starts = [0];
  for (const sign of signs) starts.push(starts.at(-1) + sign.length);
  const letter = (at) => at < signs.length && LETTER.test(signs[at]);
  const found = [];
  for (let at = 0; at < signs.length; ) {
    let end = at + 1;
    if (letter(at)) while (letter(end) || (end < signs.length && INSIDE.test(signs[end]) && letter(end + 1))) end += 1;
    if (!SPACE.test(signs[at])) found.push([starts[at], starts[end]]);
    at = end;
  }
  return found;
};

/** First and last word and type of each entity of IOB2 labels; other labels stand for one word each. */
const joined = (labels) => {
  const spans = [];
  let open = null;
  [...labels, "O"].forEach((label, at) => {
    const goesOn = open && label === `I-${open.kind}`;
    if (open && !goesOn) {
      spans.push([open.first, at - 1, open.kind]);
      open = null;
    }
    if (/^[BI]-/.test(label)) {
      if (!goesOn) open = { first: at, kind: label.slice(2) };
    } else if (label !== "O") spans.push([at, at, label]);
  });
  return spans;
};

export class Model {
  /** Load what lies beside this file: page.json, tokenizer.json, the model, and the runtime. */
  static async load() {
    const facts = await fetched("page.json", "json");
    const [tokenizer, wasm, bytes] = await Promise.all([
      fetched("tokenizer.json", "json"),
      unpacked("vendor/ort-wasm.bin"),
      fetched(facts.file, "arrayBuffer"),
    ]);
    env.wasm.numThreads = 1; // more would need special headers from the server
    env.wasm.wasmBinary = wasm;
    const session = await InferenceSession.create(bytes, { executionProviders: ["wasm"], logSeverityLevel: 3 });
    return new Model(facts, new Tokenizer(tokenizer), session);
  }

  constructor(facts, tokenizer, session) {
    Object.assign(this, { facts, tokenizer, session });
  }

  /** The likeliest tokens of each mask, best first; an empty list where there is none. */
  async fill(text, top = 5) {
    const { mask } = this.facts;
    const ids = this.#cut(this.tokenizer.encode(text.replaceAll(MASK, mask.token)).map(({ id }) => id));
    const places = [...ids.keys()].filter((at) => ids[at] === mask.id);
    if (!places.length) return [];
    const rows = await this.#run(ids, this.facts.answer);
    return places.map((at) => {
      const chances = softmax(rows(at));
      return best(chances, top).map((id) => ({ id, label: this.tokenizer.show(id), score: chances[id] }));
    });
  }

  /** Every label with its probability, best first. */
  async classify(text) {
    const ids = this.#cut(this.tokenizer.encode(text).map(({ id }) => id));
    const chances = softmax((await this.#run(ids, this.facts.answer))());
    return best(chances, chances.length).map((i) => ({ label: this.facts.labels[i], score: chances[i] }));
  }

  /** What words are, and where they stand, in UTF-16 units; a word's first token decides. */
  async tag(text) {
    const places = wordsOf(text);
    const words = places.map(([start, end]) => text.slice(start, end));
    const tokens = this.tokenizer.encode(words.join(" "));
    const ids = this.#cut(tokens.map(({ id }) => id));
    const rows = await this.#run(ids, this.facts.answer);
    const firsts = firstTokens(words, tokens).map((first) => (first < ids.length - 1 ? first : -1));
    const chances = firsts.map((first) => (first >= 0 ? softmax(rows(first)) : null));
    const chosen = chances.map((row) => (row ? best(row, 1)[0] : -1));
    return joined(chosen.map((i) => (i >= 0 ? this.facts.labels[i] : "O"))).map(([first, last, label]) => {
      const [start, end] = [places[first][0], places[last][1]];
      const scores = chances.slice(first, last + 1).map((row, i) => row[chosen[first + i]]);
      return { start, end, text: text.slice(start, end), label, score: Math.min(...scores) };
    });
  }

  /** A vector of length 1: the model's sentence vector, or the mean of its states. */
  async embed(text) {
    const ids = this.#cut(this.tokenizer.encode(text).map(({ id }) => id));
    const whole = this.facts.head === "vectors";
    const rows = await this.#run(ids, whole ? this.facts.answer : "last_hidden_state");
    let vector = Float64Array.from(whole ? rows() : rows(0));
    if (!whole) {
      for (let at = 1; at < ids.length; at += 1) rows(at).forEach((value, i) => (vector[i] += value));
      vector = vector.map((value) => value / ids.length);
    }
    const length = Math.max(Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0)), 1e-12);
    return vector.map((value) => value / length);
  }

  /** The vectors' cosine with each of a list, best first. */
  nearest(vector, list, top = 5) {
    const near = list.map((other) => other.reduce((sum, value, i) => sum + value * vector[i], 0));
    return best(near, top).map((i) => ({ line: i, score: near[i] }));
  }

  /** At most as many tokens as the model reads; the last one stays, since it ends the text. */
  #cut(ids) {
    const most = this.facts.max_length;
    return ids.length <= most ? ids : [...ids.slice(0, most - 1), ids.at(-1)];
  }

  /** Run one text; gives a function from a token's place (none: the whole text) to its row of the output. */
  async #run(ids, output) {
    const shape = [1, ids.length];
    const whole = (values) => new Tensor("int64", BigInt64Array.from(values, BigInt), shape);
    const inputs = { input_ids: whole(ids), attention_mask: whole(ids.map(() => 1)) };
    const { data, dims } = (await this.session.run(inputs, [output]))[output];
    const size = dims.at(-1);
    return (at = 0) => data.subarray(at * size, (at + 1) * size);
  }
}

/** For each of space-joined words the place of its first token, or -1; no token serves two words. */
const firstTokens = (words, tokens) => {
  const ends = tokens.map(({ start, end, special }) => (special ? [0, 0] : [start, end]));
  let [token, start] = [0, 0];
  return words.map((word) => {
    const end = start + word.length;
    while (token < ends.length && ends[token][1] <= start) token += 1;
    const found = token < ends.length && ends[token][0] < end ? token++ : -1;
    start = end + 1;
    return found;
  });
};
