/**
 * Agent text as Markdown, for those who turn it on: marked makes HTML, DOMPurify lets a short list through.
 *
 * No images, forms, styles, frames, ids, names, data attributes or handlers; links only to http, https and
 * mail, with the host written behind them. The result is a fragment that is moved into the page; markup text
 * never reaches a sink of ours.
 */
import { visible } from "@pushpals/core";
import DOMPurify from "dompurify";
import { Marked } from "marked";
import type { VNode } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

const TAGS = [
  "p", "br", "strong", "em", "del", "code", "pre", "ul", "ol", "li", "blockquote", "h1", "h2", "h3", "h4", "h5", "h6",
  "table", "thead", "tbody", "tr", "th", "td", "hr", "a",
];

/** Markup in the text is shown as text, before the sanitiser sees any: nothing of it is ever parsed. */
const marked = new Marked({ async: false, gfm: true, renderer: { html: ({ text }) => escape(text) } });

const escape = (text: string): string => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

export function clean(text: string): DocumentFragment {
  const html = marked.parse(text) as string;
  const fragment = DOMPurify.sanitize(html, {
    ALLOWED_TAGS: TAGS, ALLOWED_ATTR: ["href"], ALLOW_DATA_ATTR: false, ALLOW_ARIA_ATTR: false,
    ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i, RETURN_DOM_FRAGMENT: true,
  });
  for (const link of fragment.querySelectorAll("a")) {
    const href = link.getAttribute("href");
    if (href === null) {
      link.replaceWith(...link.childNodes);
      continue;
    }
    link.setAttribute("rel", "noopener noreferrer nofollow");
    link.setAttribute("target", "_blank");
    link.after(` (${place(href)})`);
  }
  // Headings of an agent are not headings of the console.
  for (const heading of fragment.querySelectorAll("h1,h2,h3,h4,h5,h6")) {
    const made = document.createElement("p");
    const strong = document.createElement("strong");
    strong.append(...heading.childNodes);
    made.append(strong);
    heading.replaceWith(made);
  }
  const walk = document.createTreeWalker(fragment, NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node !== null; node = walk.nextNode()) node.nodeValue = visible(node.nodeValue ?? "");
  return fragment;
}

function place(href: string): string {
  try {
    const url = new URL(href);
    return url.host || url.pathname;
  } catch {
    return href;
  }
}

export function Markdown({ text }: { text: string }): VNode {
  const box = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    box.current!.replaceChildren(clean(text));
  }, [text]);
  return <div ref={box} class="md" />;
}
