// The text is painted before mathematics and widgets keep the browser busy: both wait for `window.firstPaint`.
// Formulas are set a few at a time, so that the page answers to the reader in between.
(() => {
  "use strict";
  const SLICE = 12; // milliseconds

  // A page in the background paints nothing; there it is kept half a second.
  window.firstPaint = new Promise((ok) => {
    requestAnimationFrame(() => setTimeout(ok));
    setTimeout(ok, 500);
  });

  async function typeset() {
    await window.firstPaint;
    const formulas = [...document.querySelectorAll(".math")];
    for (let at = 0, size = 2; at < formulas.length; ) {
      const began = performance.now();
      await window.MathJax.typesetPromise(formulas.slice(at, at + size));
      at += size;
      size = Math.max(1, Math.round(size * Math.min(2, SLICE / (performance.now() - began))));
      await new Promise((ok) => setTimeout(ok));
    }
  }

  window.MathJax = { ...window.MathJax, startup: { ...window.MathJax?.startup, pageReady: typeset } };
})();
