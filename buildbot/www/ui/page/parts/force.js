/** The form of a force scheduler, drawn from the description that the server gives of it. */

import { call } from "../api.js";
import { html, useId, useLayoutEffect, useRef, useState } from "../dom.js";
import { go, to } from "../router.js";
import { loggedIn } from "../visitor.js";
import { Dialog, openDialog, toast } from "./dialogs.js";
import { Icon } from "./basics.js";

/** Every field that has a value of its own, out of nested groups. */
function* leaves(fields) {
  for (const field of fields) {
    if (field.type === "nested") yield* leaves(field.fields ?? []);
    else yield field;
  }
}

function initialValue(field) {
  const value = field.default;
  if (field.type === "bool") return value === true;
  if (field.type === "list" && field.multiple) return Array.isArray(value) ? value : value ? [value] : [];
  return value ?? "";
}

/** The server knows by itself who asks, once he has logged in. */
const isShown = (field) => !field.hide && !(field.type === "username" && loggedIn());

/** Start builds by a force scheduler; `builderid` narrows it to one builder. */
export function openForce(scheduler, builder) {
  openDialog((close) => html`<${ForceDialog} scheduler=${scheduler} builder=${builder} onClose=${close} />`);
}

function ForceDialog({ scheduler, builder, onClose }) {
  const fields = [...leaves(scheduler.all_fields)].filter((field) => field.fullName);
  const [values, setValues] = useState(() => Object.fromEntries(fields.map((field) => [field.fullName, initialValue(field)])));
  const [errors, setErrors] = useState({});
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  const form = useRef(null);
  // What a chosen value brings along goes into the other fields.
  const set = (field, value) => setValues((all) => {
    const along = Object.entries(field.autopopulate?.[value] ?? {}).filter(([name]) => name in all);
    return { ...all, [field.fullName]: value, ...Object.fromEntries(along) };
  });
  useLayoutEffect(() => form.current.querySelector("[aria-invalid=true]")?.focus(), [errors]);

  async function submit(event) {
    event.preventDefault();
    setBusy(true);
    setErrors({});
    setProblem(null);
    try {
      const sent = Object.fromEntries(fields.filter((field) => field.type !== "fixed").map((field) => [field.fullName, values[field.fullName]]));
      const [, requests] = await call(`forceschedulers/${encodeURIComponent(scheduler.name)}`, "force", {
        ...(builder ? { builderid: String(builder.builderid) } : {}),
        ...sent,
      });
      onClose();
      const ids = Object.values(requests);
      if (ids.length === 1) go(to.request(ids[0], { follow: 1 }));
      else toast(`Asked for ${ids.length} builds`, { href: to.waiting() });
    } catch (error) {
      setErrors(error.fields ?? {});
      setProblem(error.message);
      setBusy(false);
    }
  }

  const shown = new Set(fields.filter(isShown).map((field) => field.fullName));
  // A text about a field that is not shown must not get lost.
  const others = Object.entries(errors).filter(([name]) => !shown.has(name));
  const title = builder ? `${scheduler.label || scheduler.name} on ${builder.name}` : scheduler.label || scheduler.name;
  return html`<${Dialog} title=${title} onClose=${onClose} class="wide">
    <form ref=${form} onSubmit=${submit}>
      ${problem && html`<div class="note error" role="alert">${problem}${others.map(([name, text]) => html`<br />${name}: ${text}`)}</div>`}
      <div class="fields">
        ${scheduler.all_fields.map((field) => html`<${Field} field=${field} values=${values} errors=${errors} set=${set} />`)}
      </div>
      <div class="buttons">
        <button type="button" onClick=${onClose}>Close</button>
        <button class="primary" disabled=${busy}><${Icon} name="play" />${scheduler.button_name || "Start build"}</button>
      </div>
    </form>
  <//>`;
}

function Field({ field, values, errors, set }) {
  if (!isShown(field)) return null;
  if (field.type === "nested") {
    const inner = (field.fields ?? []).map((item) => html`<${Field} field=${item} values=${values} errors=${errors} set=${set} />`);
    const label = field.tablabel || field.label;
    if (!inner.length) return null;
    return field.name || (label && label !== field.name)
      ? html`<fieldset class="columns-${Math.min(3, field.columns || 1)}"><legend>${label || field.name}</legend>${inner}</fieldset>`
      : html`<div class="group columns-${Math.min(3, field.columns || 1)}">${inner}</div>`;
  }
  if (!field.fullName) return null;
  return html`<${Input} field=${field} value=${values[field.fullName]} error=${errors[field.fullName]}
    set=${(value) => set(field, value)} />`;
}

function Input({ field, value, error, set }) {
  const id = useId();
  const label = (field.label || field.fullName).replace(/:\s*$/, "");
  const common = {
    id,
    name: field.fullName,
    required: field.required && field.type !== "bool",
    "aria-invalid": error ? "true" : undefined,
    "aria-describedby": error || field.tooltip ? `${id}-note` : undefined,
  };
  const note = (error || field.tooltip) && html`<small id="${id}-note" class=${error ? "wrong" : "dim"}>${error || field.tooltip}</small>`;
  if (field.type === "bool") {
    return html`<div class="field check"><label><input type="checkbox" ...${common} checked=${value}
      onChange=${(event) => set(event.target.checked)} />${label}</label>${note}</div>`;
  }
  return html`<div class="field ${field.type === "textarea" ? "whole" : ""}">
    <label for=${id}>${label}${field.required && html`<span aria-hidden="true" class="dim"> *</span>`}</label>
    ${control(field, value, set, common)}${note}
  </div>`;
}

function control(field, value, set, common) {
  const onInput = (event) => set(event.target.value);
  switch (field.type) {
    case "textarea":
      return html`<textarea ...${common} rows=${field.rows || 4} onInput=${onInput} value=${value}></textarea>`;
    case "int":
      return html`<input ...${common} inputmode="numeric" onInput=${onInput} value=${value} />`;
    case "username":
      return html`<input ...${common} placeholder=${field.need_email ? "Name <mail@example.org>" : ""} onInput=${onInput} value=${value} />`;
    case "fixed":
      return html`<input ...${common} readonly value=${value} />`;
    case "file":
      return html`<input type="file" ...${common} onChange=${async (event) => set(await (event.target.files[0]?.text() ?? ""))} />`;
    case "list":
      return choice(field, value, set, common);
    default:
      return html`<input ...${common} onInput=${onInput} value=${value} spellcheck="false" />`;
  }
}

function choice(field, value, set, common) {
  const choices = field.choices ?? [];
  if (field.multiple) {
    const toggle = (text) => set(value.includes(text) ? value.filter((other) => other !== text) : [...value, text]);
    return html`<div class="choices" role="group" id=${common.id} aria-describedby=${common["aria-describedby"]} aria-label=${field.label || field.fullName}>
      ${choices.map((text) => html`<label><input type="checkbox" name=${field.fullName} checked=${value.includes(text)}
        onChange=${() => toggle(text)} />${text}</label>`)}
    </div>`;
  }
  if (field.strict === false) {
    return html`<input ...${common} list="${common.id}-list" value=${value} onInput=${(event) => set(event.target.value)} />
      <datalist id="${common.id}-list">${choices.map((text) => html`<option value=${text}></option>`)}</datalist>`;
  }
  return html`<select ...${common} value=${value} onChange=${(event) => set(event.target.value)}>
    ${!choices.includes(value) && html`<option value=${value}>${value || "—"}</option>`}
    ${choices.map((text) => html`<option value=${text}>${text}</option>`)}
  </select>`;
}
