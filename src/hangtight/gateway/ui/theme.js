// The theme is set before the page is drawn; a plain script, because modules come later.
(function () {
  var kept = null;
  try {
    kept = localStorage.getItem("hangtight-theme");
  } catch (refused) {
    kept = null; // a browser that keeps nothing
  }
  if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
})();
