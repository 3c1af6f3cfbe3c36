// Before the first paint: the theme that was chosen in this browser. Not a module, so that it does not wait.
(() => {
  try {
    const settings = JSON.parse(localStorage.getItem("vmproxy-settings") || "{}");
    if (settings.theme === "light" || settings.theme === "dark") document.documentElement.dataset.theme = settings.theme;
  } catch {
    // Without a store the theme is that of the system.
  }
})();
