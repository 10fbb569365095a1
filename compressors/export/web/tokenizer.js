// Reads a tokenizer.json and gives the same tokens as the Python library `tokenizers`, with the places of each token.
// A text is a list of cells: a character, and where it came from in the given text ([start, end), in UTF-16 units).

const SPACE = /[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/u; // Unicode's White_Space
const UNKNOWN_PENALTY = 10;

const cellsOf = (text) => {
  const cells = [];
  let at = 0;
  for (const sign of text) {
    cells.push({ sign, start: at, end: at + sign.length });
    at += sign.length;
  }
  return cells;
};
const textOf = (cells) => cells.map((cell) => cell.sign).join("");

/** Cells with new signs: the first ones lie where the old signs lay, further ones where the last old one lay. */
const replaced = (cells, text) =>
  [...text].map((sign, i) => ({ ...cells[Math.min(i, cells.length - 1)], sign }));

/** Cells changed sign by sign. */
const mapped = (cells, change) => cells.flatMap((cell) => replaced([cell], change(cell.sign)));

// ---- normalizers -------------------------------------------------------------------------------------------------------

/** SentencePiece's table of replacements: a double-array trie over UTF-8, and the replacements, each ended by a zero. */
class CharacterMap {
  constructor(base64) {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    const size = new DataView(bytes.buffer).getUint32(0, true);
    this.trie = new Uint32Array(bytes.slice(4, 4 + size).buffer);
    this.replacements = bytes.slice(4 + size);
    this.utf8 = new TextEncoder();
  }

  /** The replacement of the shortest known beginning of a text, or undefined. */
  find(text) {
    let at = 0;
    let unit = this.trie[at];
    const offset = () => (unit >>> 10) << ((unit & 512) >>> 6);
    at ^= offset();
    for (const byte of this.utf8.encode(text)) {
      if (byte === 0) return undefined;
      at ^= byte;
      unit = this.trie[at];
      if (unit === undefined || ((unit & 0x800000ff) >>> 0) !== byte) return undefined;
      at ^= offset();
      if ((unit >>> 8) & 1) {
        const start = this.trie[at] & 0x7fffffff;
        return new TextDecoder().decode(this.replacements.slice(start, this.replacements.indexOf(0, start)));
      }
    }
    return undefined;
  }

  /** Signs that belong together are looked up as one where they are short, else one by one. */
  apply(cells) {
    const found = [];
    let at = 0;
    for (const { segment } of new Intl.Segmenter("en", { granularity: "grapheme" }).segment(textOf(cells))) {
      const part = cells.slice(at, at + [...segment].length);
      at += part.length;
      const whole = this.utf8.encode(segment).length < 6 ? this.find(segment) : undefined;
      if (whole !== undefined) found.push(...replaced(part, whole));
      else found.push(...mapped(part, (sign) => this.find(sign) ?? sign));
    }
    return found;
  }
}

/** Unicode's forms reorder marks: each sign with its marks is changed on its own. */
const inForm = (cells, form) => {
  const found = [];
  for (let at = 0; at < cells.length; ) {
    let end = at + 1;
    while (end < cells.length && /\p{M}/u.test(cells[end].sign)) end += 1;
    const part = cells.slice(at, end);
    const [old, made] = [textOf(part), textOf(part).normalize(form)];
    found.push(...(old === made ? part : replaced(part, made)));
    at = end;
  }
  return found;
};

const CHINESE =
  /[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]/u;

const bertNormalizer = (config) => (given) => {
  let cells = given;
  if (config.clean_text) {
    cells = cells
      .filter(({ sign }) => /[\t\n\r]/.test(sign) || !/[\p{C}\ufffd]/u.test(sign))
      .map((cell) => (SPACE.test(cell.sign) ? { ...cell, sign: " " } : cell));
  }
  if (config.handle_chinese_chars) cells = mapped(cells, (sign) => (CHINESE.test(sign) ? ` ${sign} ` : sign));
  if (config.strip_accents ?? config.lowercase) {
    cells = inForm(cells, "NFD").filter(({ sign }) => !/\p{Mn}/u.test(sign));
  }
  return config.lowercase ? mapped(cells, (sign) => sign.toLowerCase()) : cells;
};

const NORMALIZERS = {
  Sequence: ({ normalizers }) => {
    const steps = normalizers.map(normalizer);
    return (cells) => steps.reduce((now, step) => step(now), cells);
  },
  Precompiled: ({ precompiled_charsmap: map }) => {
    const table = map ? new CharacterMap(map) : null;
    return (cells) => (table ? table.apply(cells) : cells);
  },
  BertNormalizer: bertNormalizer,
  Lowercase: () => (cells) => mapped(cells, (sign) => sign.toLowerCase()),
  StripAccents: () => (cells) => cells.filter(({ sign }) => !/\p{M}/u.test(sign)),
  NFC: () => (cells) => inForm(cells, "NFC"),
  NFD: () => (cells) => inForm(cells, "NFD"),
  NFKC: () => (cells) => inForm(cells, "NFKC"),
  NFKD: () => (cells) => inForm(cells, "NFKD"),
};

const known = (table, config, part) => {
  const make = table[config.type];
  if (!make) throw new Error(`tokenizer.json: ${part} ${config.type}`);
  return make(config);
};
const normalizer = (config) => (config ? known(NORMALIZERS, config, "normalizer") : (cells) => cells);

// ---- pre-tokenizers: a list of cells becomes several -------------------------------------------------------------------

/** Runs between the cells that `cuts` says; "alone" keeps the cutting cell as a run of its own, "next" begins a run with it. */
const split = (cells, cuts, keep) => {
  const runs = [[]];
  for (const cell of cells) {
    if (!cuts(cell.sign)) runs.at(-1).push(cell);
    else if (keep === "alone") runs.push([cell], []);
    else runs.push(keep === "next" ? [cell] : []);
  }
  return runs.filter((run) => run.length);
};

const metaspace = ({ replacement = "▁", prepend_scheme: scheme = "always", split: cut = true }) => (runs, first) =>
  runs.flatMap((run, number) => {
    const cells = run.map((cell) => (cell.sign === " " ? { ...cell, sign: replacement } : cell));
    const wanted = scheme === "always" || (scheme === "first" && first && number === 0);
    if (wanted && cells.length && cells[0].sign !== replacement) cells.unshift({ ...cells[0], sign: replacement });
    return cut ? split(cells, (sign) => sign === replacement, "next") : [cells];
  });

const GPT2 = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** Each byte as a sign that can be seen. */
const BYTES = (() => {
  const seen = [...Array(256).keys()].filter((b) => (b > 32 && b < 127) || (b > 160 && b !== 173));
  const signs = Array(256);
  for (const b of seen) signs[b] = String.fromCodePoint(b);
  let next = 256;
  for (let b = 0; b < 256; b += 1) signs[b] ??= String.fromCodePoint(next++);
  return signs;
})();

const byteLevel = ({ add_prefix_space: prefix, use_regex: regex = true }) => (runs) =>
  runs.flatMap((run) => {
    const cells = prefix && run.length && !SPACE.test(run[0].sign) ? [{ ...run[0], sign: " " }, ...run] : run;
    const parts = [];
    let at = 0;
    for (const piece of regex ? (textOf(cells).match(GPT2) ?? []) : [textOf(cells)]) {
      const length = [...piece].length;
      parts.push(cells.slice(at, at + length));
      at += length;
    }
    const utf8 = new TextEncoder();
    return parts.map((part) =>
      part.flatMap((cell) => [...utf8.encode(cell.sign)].map((byte) => ({ ...cell, sign: BYTES[byte] }))),
    );
  });

const punctuation = (sign) => /[!-/:-@[-`{-~]|\p{P}/u.test(sign);

const PRE_TOKENIZERS = {
  Sequence: ({ pretokenizers }) => {
    const steps = pretokenizers.map(preTokenizer);
    return (runs, first) => steps.reduce((now, step) => step(now, first), runs);
  },
  WhitespaceSplit: () => (runs) => runs.flatMap((run) => split(run, (sign) => SPACE.test(sign), "none")),
  Metaspace: metaspace,
  BertPreTokenizer: () => (runs) =>
    runs
      .flatMap((run) => split(run, (sign) => SPACE.test(sign), "none"))
      .flatMap((run) => split(run, punctuation, "alone")),
  ByteLevel: byteLevel,
};
const preTokenizer = (config) => (config ? known(PRE_TOKENIZERS, config, "pre_tokenizer") : (runs) => runs);

// ---- models: cells become tokens ({id, start, end}) --------------------------------------------------------------------

const token = (id, cells) => ({ id, start: cells[0].start, end: cells.at(-1).end });

const unigram = ({ vocab, unk_id: unknown }) => {
  const ids = new Map(vocab.map(([piece, score], id) => [piece, { id, score }]));
  const longest = vocab.reduce((most, [piece]) => Math.max(most, [...piece].length), 1);
  const lowest = vocab.reduce((least, [, score]) => Math.min(least, score), Infinity) - UNKNOWN_PENALTY;
  return (cells) => {
    const best = [{ score: 0 }, ...cells.map(() => null)];
    const offer = (end, start, id, score) => {
      const total = best[start].score + score;
      if (!best[end] || total > best[end].score) best[end] = { score: total, start, id };
    };
    for (let start = 0; start < cells.length; start += 1) {
      let piece = "";
      let single = false;
      for (let end = start + 1; end <= Math.min(cells.length, start + longest); end += 1) {
        piece += cells[end - 1].sign;
        const found = ids.get(piece);
        if (!found) continue;
        offer(end, start, found.id, found.score);
        single ||= end === start + 1;
      }
      if (!single) offer(start + 1, start, unknown, lowest);
    }
    const tokens = [];
    for (let end = cells.length; end > 0; end = best[end].start) {
      const { id, start } = best[end];
      const made = token(id, cells.slice(start, end));
      if (id === unknown && tokens[0]?.id === unknown) tokens[0].start = made.start; // unknown ones in a row are one
      else tokens.unshift(made);
    }
    return tokens;
  };
};

const wordPiece = ({ vocab, unk_token: unk, continuing_subword_prefix: prefix = "##", max_input_chars_per_word: most }) => {
  const unknown = vocab[unk];
  return (cells) => {
    if (cells.length > (most ?? 100)) return [token(unknown, cells)];
    const tokens = [];
    for (let start = 0; start < cells.length; ) {
      let end = cells.length;
      const id = () => vocab[(start ? prefix : "") + textOf(cells.slice(start, end))];
      while (end > start && id() === undefined) end -= 1;
      if (end === start) return [token(unknown, cells)];
      tokens.push(token(id(), cells.slice(start, end)));
      start = end;
    }
    return tokens;
  };
};

const bpe = ({ vocab, merges, ignore_merges: whole, unk_token: unk }) => {
  const pairs = merges.map((pair) => (typeof pair === "string" ? pair.split(" ") : pair));
  const ranks = new Map(pairs.map(([left, right], rank) => [`${left} ${right}`, rank]));
  return (cells) => {
    if (whole && vocab[textOf(cells)] !== undefined) return [token(vocab[textOf(cells)], cells)];
    const parts = cells.map((cell) => [cell]);
    for (;;) {
      let [lowest, place] = [Infinity, -1];
      for (let i = 0; i + 1 < parts.length; i += 1) {
        const rank = ranks.get(`${textOf(parts[i])} ${textOf(parts[i + 1])}`) ?? Infinity;
        if (rank < lowest) [lowest, place] = [rank, i];
      }
      if (place < 0) break;
      parts.splice(place, 2, [...parts[place], ...parts[place + 1]]);
    }
    return parts.map((part) => token(vocab[textOf(part)] ?? vocab[unk], part)).filter(({ id }) => id !== undefined);
  };
};

const MODELS = { Unigram: unigram, WordPiece: wordPiece, BPE: bpe };

// ---- post-processors: the tokens around a text ---------------------------------------------------------------------------

const POST_PROCESSORS = {
  TemplateProcessing: ({ single, special_tokens: special }) => {
    const place = single.findIndex((item) => item.Sequence);
    const idsOf = (items) => items.flatMap((item) => special[item.SpecialToken.id].ids);
    return [idsOf(single.slice(0, place)), idsOf(single.slice(place + 1))];
  },
  BertProcessing: ({ cls, sep }) => [[cls[1]], [sep[1]]],
  RobertaProcessing: ({ cls, sep }) => [[cls[1]], [sep[1]]],
  ByteLevel: () => [[], []],
  Sequence: ({ processors }) =>
    processors
      .map((config) => known(POST_PROCESSORS, config, "post_processor"))
      .reduce(([before, after], [first, last]) => [[...first, ...before], [...after, ...last]], [[], []]),
};

// ---- the whole -------------------------------------------------------------------------------------------------------------

export class Tokenizer {
  constructor(config) {
    this.normalize = normalizer(config.normalizer);
    this.divide = preTokenizer(config.pre_tokenizer);
    this.model = known(MODELS, config.model, "model");
    [this.before, this.after] = config.post_processor
      ? known(POST_PROCESSORS, config.post_processor, "post_processor")
      : [[], []];
    this.added = [...config.added_tokens].sort((a, b) => b.content.length - a.content.length);
    this.decoder = config.decoder;
    this.pieces = [];
    if (Array.isArray(config.model.vocab)) this.pieces = config.model.vocab.map(([piece]) => piece);
    else for (const [piece, id] of Object.entries(config.model.vocab)) this.pieces[id] = piece;
    for (const { id, content } of this.added) this.pieces[id] = content;
  }

  /** Tokens of a text: {id, start, end, special}, those around it included; places are in UTF-16 units. */
  encode(text) {
    const around = (id) => ({ id, start: 0, end: 0, special: true });
    const inside = this.#parts(cellsOf(text)).flatMap((part, number) => {
      if (part.added) return [{ ...token(part.added.id, part.cells), special: part.added.special }];
      const cells = this.normalize(part.cells);
      return this.divide(cells.length ? [cells] : [], number === 0).flatMap((run) =>
        this.model(run).map((made) => ({ ...made, special: false })),
      );
    });
    return [...this.before.map(around), ...inside, ...this.after.map(around)];
  }

  /** What a single token looks like. */
  show(id) {
    const piece = this.pieces[id] ?? "";
    if (this.decoder?.type === "ByteLevel" && !this.added.some((one) => one.id === id)) {
      return new TextDecoder().decode(Uint8Array.from([...piece].map((sign) => BYTES.indexOf(sign))));
    }
    if (this.decoder?.type === "WordPiece") return piece;
    return piece.startsWith("▁") ? piece.slice(1).replaceAll("▁", " ") || piece : piece.replaceAll("▁", " ");
  }

  /** The text cut at added tokens, such as the mask: [{cells}, {cells, added}, ...]; the longest wins. */
  #parts(cells) {
    const parts = [];
    let rest = [];
    for (let at = 0; at < cells.length; ) {
      const added = this.added.find(({ content }) => textOf(cells.slice(at, at + [...content].length)) === content);
      if (!added) {
        rest.push(cells[at]);
        at += 1;
        continue;
      }
      let end = at + [...added.content].length;
      const own = cells.slice(at, end);
      while (added.lstrip && rest.length && SPACE.test(rest.at(-1).sign)) own.unshift(rest.pop());
      while (added.rstrip && end < cells.length && SPACE.test(cells[end].sign)) own.push(cells[end++]);
      if (rest.length) parts.push({ cells: rest });
      parts.push({ cells: own, added });
      rest = [];
      at = end;
    }
    if (rest.length) parts.push({ cells: rest });
    return parts;
  }
}
