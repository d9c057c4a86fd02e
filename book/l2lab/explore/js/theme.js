// Dark or light, as the host says: the book's page, JupyterLab, VS Code, Colab; else the system.

function isDark() {
  const page = document.documentElement;
  const body = document.body;
  if (body.dataset.jpThemeLight) return body.dataset.jpThemeLight === "false";
  const told = page.dataset.theme || page.getAttribute("theme") || body.dataset.vscodeThemeKind;
  if (told) return /dark|high-contrast$/.test(told);
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

// Gives the root the class "dark" when it is; returns a function that reads the first two colours.
function followTheme(ctx) {
  const { root } = ctx;
  const inherited = matchMedia("(prefers-color-scheme: dark)");
  let colours = null;
  const paint = () => {
    root.classList.toggle("dark", isDark());
    colours = null;
    ctx.redraw();
  };
  const observer = new MutationObserver(paint);
  const watch = (element, names) =>
    observer.observe(element, { attributes: true, attributeFilter: names });
  watch(document.documentElement, ["data-theme", "theme"]);
  watch(document.body, ["data-jp-theme-light", "data-vscode-theme-kind"]);
  ctx.listen(inherited, "change", paint);
  ctx.onClose(() => observer.disconnect());
  root.classList.toggle("dark", isDark());

  const read = (k) => {
    const value = getComputedStyle(root).getPropertyValue(`--lx-${k}`);
    return value.match(/[0-9a-f]{2}/gi).map((v) => parseInt(v, 16));
  };
  return () => (colours ||= [read(1), read(2)]);
}
