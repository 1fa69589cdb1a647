// Before anything is shown: the colours that were chosen here last, if not the system's.
(() => {
  try {
    const theme = localStorage.getItem("cooper-theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // Without storage the system decides.
  }
})();
