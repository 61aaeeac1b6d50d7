// @ts-check
/** Users on Configurations: the own account and logins; all users and the audit log for administrators. */

import { askForOptionalText, askToConfirm } from "../common/ask_dialog.js";
import { make, makeButton } from "../common/dom.js";
import { postJson, requestJson } from "../common/requests.js";
import { showError } from "../common/toasts.js";
import { HeldImages } from "./held_images.js";
import { describeEntry, describeLimits, describeUsage, formatTime, parseLimits, ROLES } from "./user_texts.js";
import { translate } from "../common/translate.js";

/** @typedef {import("../common/gradio_dom.js").FieldHost} FieldHost */
/** @typedef {import("./user_texts.js").User} User */
/** @typedef {import("./user_texts.js").Session} Session */
/** @typedef {import("./user_texts.js").AuditEntry} AuditEntry */

const API = "api/image-studio";
const AUDIT_ENTRIES = 200;
const NO_ACCOUNTS = "There are no user accounts. Add one with: python run.py --add-user NAME";

/**
 * Build the panel into its component.
 * @param {FieldHost} host
 */
export function mountUsersPanel(host) {
  const panel = new UsersPanel();
  host.element.replaceChildren(panel.root);
  new IntersectionObserver((seen) => {
    if (seen.some((entry) => entry.isIntersecting)) panel.load();
  }).observe(panel.root);
}

class UsersPanel {
  constructor() {
    this.own = make("p", { class: "note" });
    this.sessions = make("div", { class: "table-frame" });
    this.users = make("div", { class: "table-frame" });
    this.told = make("div", { role: "status" });
    this.audit = make("div", { class: "table-frame" });
    this.all = make("div", { hidden: true });
    this.all.append(
      make("h4", {}, translate("All users")),
      this.users,
      this.told,
      this.buildNewUserForm(),
      make("h4", {}, translate("Audit log")),
      this.audit,
    );
    this.root = make("section", { class: "users", "aria-label": "Users" });
    this.held = make("div", {});
    this.root.append(this.own, make("h4", {}, translate("Your logins")), this.sessions);
    this.root.append(make("h4", {}, translate("Images held back")), this.held, this.all);
  }

  async load() {
    try {
      const me = await requestJson(`${API}/me`);
      this.own.textContent = `${me.name}, ${ROLES[me.role] ?? me.role}. ${describeUsage(me)}`;
      const held = new HeldImages({ decides: me.rights.includes("release"), user: me.name });
      this.held.replaceChildren(held.root);
      await held.load();
      const manages = me.rights.includes("users");
      if (!me.accounts) {
        this.sessions.replaceChildren(make("p", { class: "note" }, NO_ACCOUNTS));
        return;
      }
      await this.loadSessions();
      this.all.hidden = !manages;
      if (manages) await this.loadAll();
    } catch (error) {
      this.sessions.replaceChildren(make("p", { class: "note" }, error instanceof Error ? error.message : ""));
    }
  }

  async loadSessions() {
    /** @type {{sessions: Session[]}} */
    const { sessions } = await requestJson(`${API}/sessions`);
    const rows = sessions.map((one) => {
      const end = makeButton("End", () => this.run(() => this.send("DELETE", `sessions/${one.id}`)));
      const last = one.own ? "this one" : formatTime(one.seen);
      return makeRow([one.client || "unknown", one.address, formatTime(one.begun), last], one.own ? "" : end);
    });
    this.sessions.replaceChildren(makeTable(["Browser", "From", "Since", "Last used", ""], rows));
  }

  async loadAll() {
    /** @type {{users: User[]}} */
    const { users } = await requestJson(`${API}/users`);
    const rows = users.map((user) => this.buildUserRow(user));
    this.users.replaceChildren(makeTable(["Name", "Role", "Limits", "Used", ""], rows));
    /** @type {{entries: AuditEntry[]}} */
    const { entries } = await requestJson(`${API}/audit?limit=${AUDIT_ENTRIES}`);
    const lines = entries.map((entry) => makeRow([entry.time.slice(0, 19), entry.user, describeEntry(entry)]));
    this.audit.replaceChildren(makeTable(["Time", "User", "Event"], lines));
  }

  /**
   * @param {User} user
   * @returns {HTMLElement}
   */
  buildUserRow(user) {
    const role = buildRoleChoice(user.role, (value) => this.change(user.name, { role: value }));
    role.setAttribute("aria-label", translate("Role of {name}", { name: user.name }));
    const state = user.disabled ? "Enable" : "Disable";
    const buttons = make("div", { class: "users-buttons" });
    buttons.append(
      makeButton("Limits", () => this.askLimits(user)),
      makeButton("New password", () => this.resetPassword(user)),
      makeButton("End logins", () => this.run(() => postJson(`${API}/users/${user.name}/sessions/end`, {}))),
      makeButton(state, () => this.change(user.name, { disabled: !user.disabled })),
      makeButton("Remove", () => this.remove(user)),
    );
    const name = user.disabled ? translate("{name} (disabled)", { name: user.name }) : user.name;
    return makeRow([name, role, describeLimits(user.limits) || "as everybody", describeUsage(user)], buttons);
  }

  buildNewUserForm() {
    const name = make("input", {
      type: "text",
      maxlength: 64,
      required: true,
      "aria-label": "Name of the new user",
      placeholder: "Name",
    });
    const role = buildRoleChoice("member", () => {});
    role.setAttribute("aria-label", translate("Role of the new user"));
    const add = make("button", { type: "submit", class: "mini mini-main" }, translate("Add user"));
    const form = make("form", { class: "users-new" }, name, role, add);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.run(async () => {
        const made = await postJson(`${API}/users`, { name: name.value.trim(), role: role.value });
        this.tellPassword(made.name, made.password);
        name.value = "";
      });
    });
    return form;
  }

  /** @param {User} user */
  async askLimits(user) {
    const value = describeLimits(user.limits);
    const label = "Limits as name=value, separated by commas; empty: as everybody";
    const given = await askForOptionalText({
      title: translate("Limits of {name}", { name: user.name }),
      label,
      value,
      action: "Save",
    });
    if (given !== null) await this.run(() => this.send("PATCH", `users/${user.name}`, { limits: parseLimits(given) }));
  }

  /** @param {User} user */
  async resetPassword(user) {
    const text = translate("{name} gets a new password, and all their logins end.", { name: user.name });
    if (!(await askToConfirm({ title: "New password", text, action: "New password" }))) return;
    await this.run(async () => {
      const changed = await this.send("PATCH", `users/${user.name}`, { newPassword: true });
      this.tellPassword(user.name, changed.password);
    });
  }

  /** @param {User} user */
  async remove(user) {
    const text = translate("{name} can no longer log in, and their tokens end. Their images stay on the disk.", {
      name: user.name,
    });
    if (await askToConfirm({ title: "Remove user", text, action: "Remove" })) {
      await this.run(() => this.send("DELETE", `users/${user.name}`));
    }
  }

  /**
   * @param {string} name
   * @param {string} password
   */
  tellPassword(name, password) {
    const note = make("p", { class: "note" }, translate("Password of {name}, shown only once:", { name }));
    this.told.replaceChildren(note, make("pre", { class: "log" }, password));
  }

  /**
   * @param {string} name
   * @param {Record<string, unknown>} change
   */
  change(name, change) {
    return this.run(() => this.send("PATCH", `users/${name}`, change));
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {unknown} [body]
   * @returns {Promise<any>}
   */
  send(method, path, body) {
    const headers = { "Content-Type": "application/json" };
    return requestJson(`${API}/${path}`, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  }

  /** @param {() => Promise<unknown>} work */
  async run(work) {
    try {
      await work();
    } catch (error) {
      showError(error);
    }
    await this.load();
  }
}

/**
 * @param {string} chosen
 * @param {(role: string) => void} onChange
 * @returns {HTMLSelectElement}
 */
function buildRoleChoice(chosen, onChange) {
  const options = Object.entries(ROLES).map(([value, label]) =>
    make("option", { value, selected: value === chosen }, label),
  );
  const choice = make("select", {}, ...options);
  choice.addEventListener("change", () => onChange(choice.value));
  return choice;
}

/**
 * @param {string[]} titles
 * @param {HTMLElement[]} rows
 * @returns {HTMLElement}
 */
function makeTable(titles, rows) {
  const head = make("tr", {}, ...titles.map((title) => make("th", {}, translate(title))));
  return make("table", { class: "plain" }, make("thead", {}, head), make("tbody", {}, ...rows));
}

/**
 * @param {(string | Node)[]} cells
 * @param {string | Node} [last]
 * @returns {HTMLElement}
 */
function makeRow(cells, last) {
  const all = last === undefined ? cells : [...cells, last];
  return make("tr", {}, ...all.map((cell) => make("td", {}, cell)));
}
