() => {
  // Gradio names empty areas and locked columns without saying what they are; screen readers need a role to read a name.
  const mend = () => document.querySelectorAll('div[aria-label]:not([role])').forEach((node) => node.setAttribute('role', 'img'));
  new MutationObserver(mend).observe(document.body, { childList: true, subtree: true });
  mend();
}
