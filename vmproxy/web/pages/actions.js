// What can be done on a console now, and why not: words for the bar, without a page.

/**
 * @typedef {object} ConsoleInfo as the API says
 * @property {string} id
 * @property {string} name
 * @property {string} [alias]
 * @property {string} uuid
 * @property {string|number} port
 * @property {"up"|"down"|"migrating"} state
 * @property {string|null} since
 * @property {string|null} reason
 * @property {string|null} host
 * @property {boolean} logging
 * @property {string|null} log_problem
 * @property {boolean} input_recorded
 * @property {string[]} sequences
 * @property {string[]} rights
 * @property {string[]} writers
 * @property {{who: string, mode: string, since: string, skipped: number}[]} viewers the first 64
 * @property {number} viewer_count
 * @property {string} [last_line]
 */

/**
 * @typedef {object} Situation
 * @property {ConsoleInfo|null} info
 * @property {boolean} live whether there is a connection
 * @property {import("./socket.js").Pen} pen
 * @property {string[]} writers the others that write
 * @property {number} others how many viewers there are besides
 * @property {boolean} shared whether several may write
 */

const AWAY = "There is no connection to the server.";

/** @typedef {"take"|"drop"|"force"|"join"|"break"|"sequence"|"keys"|"paste"|"stty"|"message"|"note"|"disconnect"} Action */

/**
 * Why something cannot be done now; "" if it can.
 * @param {Action} action
 * @param {Situation} now
 * @returns {string}
 */
export function whyNot(action, now) {
  const rights = now.info?.rights ?? [];
  if (!now.live && action !== "disconnect") return AWAY;
  switch (action) {
    case "take":
      return rights.includes("write") ? "" : "You may read this console, not write.";
    case "drop":
      return "";
    case "force":
      if (!rights.includes("force")) return "You may not take over on this console.";
      return now.writers.length === 0 ? "Nobody else writes." : "";
    case "join":
      if (!rights.includes("write")) return "You may read this console, not write.";
      if (!now.shared) return "This console has one writer at a time.";
      return now.writers.length === 0 ? "Nobody else writes." : "";
    case "sequence":
      if (now.info !== null && now.info.sequences.length === 0) return "No sequences are set up for this console.";
      return mayType(now);
    case "break":
    case "keys":
    case "paste":
    case "stty":
      return mayType(now);
    case "message":
      return now.others === 0 ? "Nobody else is here." : "";
    case "note":
      return rights.includes("write") ? "" : "Notes need the right to write.";
    case "disconnect":
      if (!rights.includes("admin")) return "Only administrators of this console disconnect others.";
      return now.others === 0 ? "Nobody else is here." : "";
  }
}

/** @param {Situation} now */
function mayType(now) {
  if (now.pen !== "write") return "You are read-only.";
  return now.info?.state === "down" ? "The VM is not connected." : "";
}

/**
 * Who writes: "You write", "alice writes, you wait", "Read-only".
 * @param {import("./socket.js").Pen} pen
 * @param {string[]} writers the others
 */
export function penWords(pen, writers) {
  const names = listed(writers);
  const verb = writers.length > 1 ? "write" : "writes";
  if (pen === "write") return writers.length > 0 ? `You write, and ${names}` : "You write";
  if (pen === "waits") return writers.length > 0 ? `${names} ${verb}, you wait` : "You wait for write access";
  return writers.length > 0 ? `Read-only, ${names} ${verb}` : "Read-only";
}

/**
 * Whether the output is recorded: words, and whether that is good.
 * @param {ConsoleInfo} info
 * @returns {{text: string, good: boolean}}
 */
export function recordingWords(info) {
  if (!info.logging) return { text: "NOT being recorded: turned off", good: false };
  if (info.log_problem) return { text: `NOT being recorded: ${info.log_problem}`, good: false };
  return { text: "Recorded", good: true };
}

/**
 * "alice@10.1.2.9", "alice@10.1.2.9 and bob@10.1.2.7", "alice@10.1.2.9 and 3 others".
 * @param {string[]} names
 */
export function listed(names) {
  if (names.length <= 2) return names.join(" and ");
  return `${names[0]} and ${names.length - 1} others`;
}

/** @type {Record<string, string>} */
const WAITING = { stopping: "The server stops", "too-many": "Too many connections" };

/**
 * The words of a status of the connection.
 * @param {import("./socket.js").Status} status
 * @param {number} now
 * @param {boolean} before whether it was attached before
 * @returns {{title: string, text: string, button: string}|null} null: nothing is to be said
 */
export function statusWords(status, now, before) {
  const seconds = Math.max(0, Math.ceil(((status.until ?? now) - now) / 1000));
  const again = seconds > 0 ? `Reconnecting in ${seconds} s` : "Reconnecting";
  switch (status.name) {
    case "live":
      return null;
    case "connecting":
      return { title: before ? "Reconnecting" : "Connecting", text: "", button: "" };
    case "paused":
      return { title: "Paused", text: "This page was hidden. It goes on when it is shown.", button: "" };
    case "login":
      return { title: "Your login has ended", text: "Log in, and the console goes on where it was.", button: "Log in" };
    case "waiting": {
      const title = WAITING[status.why ?? ""] ?? "The connection is gone";
      return { title, text: `${again}.`, button: "Try now" };
    }
    case "ended":
      return { ...ended(status), button: status.why === "left" ? "" : "Attach again" };
  }
}

/** @param {import("./socket.js").Status} status */
function ended(status) {
  const text = status.reason ?? "";
  switch (status.why) {
    case "rights":
      return { title: "Your rights have changed", text: text || "You may not read this console any more." };
    case "absent":
      return { title: "No such console", text: "There is no console of this name, or none that you may see." };
    case "sent-off":
      return { title: text ? `Disconnected by ${text}` : "Disconnected by an administrator", text: "" };
    case "impossible":
      return { title: "Not possible now", text };
    default:
      return { title: "Left", text };
  }
}
