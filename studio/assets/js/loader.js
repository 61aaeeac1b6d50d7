// @ts-check
/**
 * Runs in the head of the page, before all else, and can import nothing: studio/serving/page_assets.py writes it into
 * the HTML. It applies the theme, notes what is typed, started and asked of the page's modules while they are not
 * there, and loads them once one can type. Until then connection and processor are left to Gradio's page, which needs
 * them for that.
 */
(() => {
  const PROMPT = "#prompt textarea";
  const BUSY_MS = 500; // ms that the modules wait at most until the page has nothing else to do
  const PATIENCE_MS = 10000; // ms after which they are loaded even where no prompt came
  const DARK_CLASS = "dark"; // of the body, as Gradio's styles want it
  const STORAGE_KEY = "easel-look"; // what earlier versions stored stays valid
  const STARTS = "button.generate, button.waits"; // what begins a job

  const settings = window.easelSettings;
  /** @type {string | null} */
  let chosen = null; // for a private window, which may store nothing
  let isThemed = false;
  let isLoading = false;
  /** What was pressed, to be done by the modules. @type {(() => void)[]} */
  const pressed = [];

  /** @type {import("./globals.js").EarlyCall[]} */
  const calls = (window.easelEarlyCalls = []);
  /** @type {ProxyHandler<any>} */
  const stand = {
    get: (_, name) =>
      name === "restored"
        ? false
        : (/** @type {unknown[]} */ ...values) =>
            new Promise((done) => calls.push([/** @type {any} */ (name), values, done])),
  };
  window.easel = new Proxy({}, stand);

  /** The theme that the user chose last, else the administrator's. */
  function applyTheme() {
    const theme = readStoredTheme() ?? chosen ?? settings.theme;
    const dark = theme === "dark" || (theme === "system" && matchMedia("(prefers-color-scheme: dark)").matches);
    if (document.body.classList.contains(DARK_CLASS) !== dark) document.body.classList.toggle(DARK_CLASS, dark);
  }

  window.easelChooseTheme = (theme) => {
    chosen = theme;
    try {
      localStorage.setItem(STORAGE_KEY, theme);
    } catch {
      // a private window may store nothing
    }
    applyTheme();
  };

  /** @returns {string | null} */
  function readStoredTheme() {
    try {
      return localStorage.getItem(STORAGE_KEY);
    } catch {
      return null;
    }
  }

  /** @returns {boolean} whether the browser keeps a form from an earlier visit */
  function hasStoredForm() {
    try {
      return Object.keys(localStorage).some((key) => key.startsWith("easel-") && key.endsWith("-form"));
    } catch {
      return false; // a private window
    }
  }

  /** @param {Event} event */
  function noteTyping({ target }) {
    if (target instanceof HTMLTextAreaElement && target.matches(PROMPT)) window.easelTypedPrompt = target.value;
  }

  /** @param {Event} event */
  function holdPress(event) {
    const { target } = event;
    if (!(target instanceof Element)) return;
    if (event instanceof KeyboardEvent) {
      const { key, ctrlKey, metaKey } = event;
      if (key !== "Enter" || !(ctrlKey || metaKey)) return;
      const again = { key, ctrlKey, metaKey, bubbles: true, cancelable: true };
      pressed.push(() => target.dispatchEvent(new KeyboardEvent("keydown", again)));
    } else {
      const button = target.closest(STARTS);
      if (!(button instanceof HTMLElement)) return;
      pressed.push(() => button.click());
    }
    event.preventDefault();
    event.stopImmediatePropagation();
  }

  /**
   * Add a link to styles to the page. One that is disabled is not fetched.
   * @param {string} address
   */
  function addStyles(address, disabled = false) {
    const link = document.createElement("link");
    link.rel = "stylesheet";
    link.disabled = disabled;
    link.href = address;
    document.head.append(link);
    return link;
  }

  /** Fetch what the page needs next, and start the modules once their styles are there. */
  async function load() {
    if (isLoading) return;
    isLoading = true;
    const styles = addStyles(settings.styles);
    const styled = new Promise((done) => (styles.onload = styles.onerror = done));
    for (const address of settings.following) {
      const link = document.createElement("link");
      link.rel = address.endsWith(".css") ? "preload" : "modulepreload";
      if (link.rel === "preload") link.as = "style";
      link.crossOrigin = "";
      link.fetchPriority = "low";
      link.href = address;
      document.head.append(link);
    }
    await styled;
    await import(new URL(settings.entry, document.baseURI).href);
    listen("removeEventListener");
    for (const press of pressed) press();
  }

  /** @param {"addEventListener" | "removeEventListener"} change */
  function listen(change) {
    document[change]("input", noteTyping, true);
    for (const type of ["keydown", "click"]) document[change](type, holdPress, true);
  }

  function look() {
    if (document.body && !isThemed) {
      isThemed = true;
      applyTheme();
      // Gradio sets the theme of the system whenever its own start is that far.
      new MutationObserver(applyTheme).observe(document.body, { attributes: true, attributeFilter: ["class"] });
    }
    if (!document.querySelector(PROMPT)) return;
    watch.disconnect();
    requestAnimationFrame(() => setTimeout(loadWhenIdle)); // one sees the prompt first
    setTimeout(loadWhenIdle, BUSY_MS); // a page in the background is not drawn
  }

  function loadWhenIdle() {
    if (window.requestIdleCallback) window.requestIdleCallback(load, { timeout: BUSY_MS });
    else setTimeout(load); // Safari
  }

  window.easelHasStoredForm = hasStoredForm(); // Gradio's page stores empty ones as it starts
  // The theme's styles came with the others. Gradio's page takes them for loaded when a link has this whole address.
  addStyles(new URL(settings.themeStyles, document.baseURI).href, true);
  const watch = new MutationObserver(look);
  watch.observe(document, { childList: true, subtree: true });
  listen("addEventListener");
  setTimeout(load, PATIENCE_MS);
})();
