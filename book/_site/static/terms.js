// Explanations of terms: Escape puts one away until the pointer or the focus has left it, and what stands in it is no
// stop of the Tab key (MathJax makes one of every formula).
(() => {
  "use strict";
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const term of document.querySelectorAll(".term:hover, .term:focus-within")) {
      term.classList.add("term-dismissed");
      const back = (e) => {
        if (e.type === "mouseleave" || !term.contains(e.relatedTarget)) term.classList.remove("term-dismissed");
      };
      term.addEventListener("mouseleave", back, { once: true });
      term.addEventListener("focusout", back, { once: true });
    }
  });
  const pass = ({ target }) => {
    for (const formula of target.closest?.(".term")?.querySelectorAll("mjx-container[tabindex='0']") ?? []) {
      formula.tabIndex = -1;
    }
  };
  document.addEventListener("focusin", pass);
  document.addEventListener("pointerover", pass);
})();
