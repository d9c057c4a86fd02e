// What the pages of the theme need and do not bring: listeners in place of onclick attributes, which the pages'
// Content-Security-Policy forbids, and a search that also works in a page opened as a file.
(() => {
  "use strict";
  document.addEventListener("click", ({ target }) => {
    if (target.closest(".btn-download-pdf-button")) window.print();
    if (target.closest(".btn-fullscreen-button")) window.toggleFullScreen(); // the theme's own
  });
  // A page opened as a file cannot read other files: the search shows titles without their summaries.
  if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
})();
