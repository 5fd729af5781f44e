/**
 * Light or dark as Jupyter's theme is, which says so on the body and not by `color-scheme`. Without this, the
 * console's own colours would follow the device and not the theme around them.
 */
export function followTheme(element: HTMLElement, body: HTMLElement = document.body): () => void {
  const see = (): void => {
    const light = body.dataset["jpThemeLight"];
    element.style.colorScheme = light === undefined ? "" : light === "false" ? "dark" : "light";
  };
  const watch = new MutationObserver(see);
  watch.observe(body, { attributes: true, attributeFilter: ["data-jp-theme-light"] });
  see();
  return () => watch.disconnect();
}
