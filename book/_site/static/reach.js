// What the theme leaves out for readers who use the keyboard, and for those who open the pages as files.
(() => {
  "use strict";
  // A side bar that has opened as a dialog gives the focus back to its button.
  for (const side of ["primary", "secondary"]) {
    const dialog = document.getElementById(`pst-${side}-sidebar-modal`);
    dialog?.addEventListener("close", () => document.querySelector(`.${side}-toggle`)?.focus());
  }

  // A box that scrolls sideways is a stop of the Tab key. The theme looks for such boxes when the window changes its
  // size, but not when hidden code or a solution opens.
  document.addEventListener("toggle", () => dispatchEvent(new Event("resize")), true);

  // A page opened as a file cannot read other files: the search shows titles without their summaries.
  if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
})();
