/** Terminal output to spans: SGR colours and styles; every other control sequence is dropped. */

// CSI sequences, OSC sequences up to BEL or ST, and two-character escapes.
const SEQUENCE = /\x1b(?:\[([0-9:;<=>?]*)[ -/]*([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_=>])/g;
// eslint-disable-next-line no-control-regex
const CONTROL = /[\x00-\x08\x0b-\x1f\x7f]/g;

export const PLAIN = Object.freeze({});

/**
 * Cut a line into runs of one style.
 * @param {string} line  without its line feed
 * @param {object} style  the style in which the line begins
 * @returns {{runs: {text: string, style: object}[], style: object}}  and the style in which the next one begins
 */
export function parseLine(line, style = PLAIN) {
  const text = lastOverwrite(line);
  if (!text.includes("\x1b")) {
    return { runs: text ? [{ text: text.replace(CONTROL, ""), style }] : [], style };
  }
  const runs = [];
  let position = 0;
  const push = (end) => {
    const piece = text.slice(position, end).replace(CONTROL, "");
    if (piece) runs.push({ text: piece, style });
  };
  for (const match of text.matchAll(SEQUENCE)) {
    push(match.index);
    if (match[2] === "m" && /^[0-9:;]*$/.test(match[1])) style = applyCodes(style, match[1]);
    position = match.index + match[0].length;
  }
  push(text.length);
  return { runs, style };
}

/** A progress line that was written over and over again shows what stood there last. */
function lastOverwrite(line) {
  if (!line.includes("\r")) return line;
  const pieces = line.split("\r");
  while (pieces.length > 1 && pieces.at(-1) === "") pieces.pop();
  return pieces.at(-1);
}

function applyCodes(style, text) {
  const codes = text.split(/[;:]/).map(Number);
  let next = { ...style };
  for (let i = 0; i < codes.length; i += 1) {
    const code = codes[i];
    if (code === 0) next = {};
    else if (code === 1) next.bold = true;
    else if (code === 2) next.dim = true;
    else if (code === 3) next.italic = true;
    else if (code === 4) next.underline = true;
    else if (code === 7) next.inverse = true;
    else if (code === 9) next.strike = true;
    else if (code === 22) { delete next.bold; delete next.dim; }
    else if (code === 23) delete next.italic;
    else if (code === 24) delete next.underline;
    else if (code === 27) delete next.inverse;
    else if (code === 29) delete next.strike;
    else if (code >= 30 && code <= 37) next.fg = code - 30;
    else if (code >= 90 && code <= 97) next.fg = code - 90 + 8;
    else if (code >= 40 && code <= 47) next.bg = code - 40;
    else if (code >= 100 && code <= 107) next.bg = code - 100 + 8;
    else if (code === 39) delete next.fg;
    else if (code === 49) delete next.bg;
    else if (code === 38 || code === 48) {
      const name = code === 38 ? "fg" : "bg";
      if (codes[i + 1] === 5) {
        next[name] = palette(codes[i + 2]);
        i += 2;
      } else if (codes[i + 1] === 2) {
        next[name] = `rgb(${[codes[i + 2], codes[i + 3], codes[i + 4]].map(channel).join(" ")})`;
        i += 4;
      }
    }
  }
  return Object.keys(next).length ? next : PLAIN;
}

function channel(value) {
  return Number.isInteger(value) ? Math.min(255, Math.max(0, value)) : 0;
}

/** One of the 256 colours: the first 16 follow the theme, the others are fixed. */
function palette(index) {
  const n = channel(index);
  if (n < 16) return n;
  if (n >= 232) {
    const grey = 8 + (n - 232) * 10;
    return `rgb(${grey} ${grey} ${grey})`;
  }
  const level = (value) => (value === 0 ? 0 : 55 + value * 40);
  const m = n - 16;
  return `rgb(${level(Math.floor(m / 36))} ${level(Math.floor(m / 6) % 6)} ${level(m % 6)})`;
}

/** Class names and inline colours of a style. */
export function attributesOf(style) {
  const classes = [];
  for (const name of ["bold", "dim", "italic", "underline", "strike", "inverse"]) {
    if (style[name]) classes.push(`a-${name}`);
  }
  const css = {};
  if (typeof style.fg === "number") classes.push(`a-f${style.fg}`);
  else if (style.fg) css.color = style.fg;
  if (typeof style.bg === "number") classes.push(`a-b${style.bg}`);
  else if (style.bg) css.backgroundColor = style.bg;
  return { class: classes.join(" "), style: css };
}
