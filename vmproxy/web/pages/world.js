// The world of a ConsoleSocket in a browser: its clock, timers and network.

import { ask, address, Problem, consolePath } from "./api.js";

/**
 * @param {string} console its id, or a name
 * @param {Record<string, string>} [more] for the query of each connection
 * @returns {import("./socket.js").World}
 */
export function browserWorld(console, more = {}) {
  return {
    now: () => Date.now(),
    later: (call, milliseconds) => setTimeout(call, milliseconds),
    cancel: (timer) => clearTimeout(timer),
    random: () => Math.random(),
    open: (query) => {
      const url = new URL(address(consolePath(console, "attach"), { ...more, ...query }), location.href);
      url.protocol = url.protocol.replace("http", "ws");
      return new WebSocket(url, "vmproxy.v1");
    },
    probe: async () => {
      try {
        await ask("whoami", { quiet: true, signal: AbortSignal.timeout(5000) });
      } catch (error) {
        if (error instanceof Problem && error.status === 401) return "login";
      }
      return "other";
    },
  };
}

/**
 * Tell a socket what happens to the page and to its network.
 * @param {import("./socket.js").ConsoleSocket} socket
 */
export function follow(socket) {
  addEventListener("online", () => socket.online());
  document.addEventListener("visibilitychange", () => socket.visibility(document.hidden));
  addEventListener("pagehide", () => socket.stop());
}
