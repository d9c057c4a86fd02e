// Escape puts away the explanation of a term until the pointer or the focus has left it.
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
