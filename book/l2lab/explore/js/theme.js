// Dark or light, as the host says: the book's page, JupyterLab, VS Code, Colab; else the system.

function isDark() {
  const page = document.documentElement;
  const body = document.body;
  if (body.dataset.jpThemeLight) return body.dataset.jpThemeLight === "false";
  const told = page.dataset.theme || page.getAttribute("theme") || body.dataset.vscodeThemeKind;
  if (told) return /dark|high-contrast$/.test(told);
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

// Gives the root the class "dark" while it is.
function followTheme(ctx) {
  const paint = () => ctx.root.classList.toggle("dark", isDark());
  const observer = new MutationObserver(paint);
  for (const element of [document.documentElement, document.body]) {
    observer.observe(element, { attributes: true });
  }
  ctx.listen(matchMedia("(prefers-color-scheme: dark)"), "change", paint);
  ctx.onClose(() => observer.disconnect());
  paint();
}
