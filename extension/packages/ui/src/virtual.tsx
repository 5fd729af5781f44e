/**
 * A list of any length that draws what can be seen.
 *
 * Rows have known heights, or estimated ones that are measured when drawn (`measured`). Positions are a
 * prefix sum, so a jump is a binary search. Rows are keyed, so focus survives scrolling within the window.
 */
import type { VNode } from "preact";
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

export interface VirtualProps {
  count: number;
  /** The height of a row in pixels; a number for all. */
  height: number | ((index: number) => number);
  render: (index: number) => VNode;
  rowKey?: (index: number) => string | number;
  /** Rows whose drawn height counts instead of the estimate. */
  measured?: (index: number) => boolean;
  /** Changes when heights do. */
  version?: unknown;
  /** The width of the content, e.g. `120ch`; the list scrolls sideways if it is wider than the box. */
  width?: string;
  class?: string;
  /** Only as high as its rows, up to the style's maximum. */
  fit?: boolean;
  label: string;
  role?: "log" | "list" | "table" | "group";
  /** Keep the end in view while the person is at the end. */
  stick?: boolean;
  onStick?: (at: boolean) => void;
  /** Scroll there when it changes. */
  goTo?: { index: number; serial: number } | null;
  onKeyDown?: (event: KeyboardEvent) => void;
  onTop?: (index: number) => void;
}

const OVER = 12;

export function Virtual(props: VirtualProps): VNode {
  const { count, height, render, rowKey, measured, version, stick } = props;
  const box = useRef<HTMLDivElement>(null);
  const sizes = useRef(new Map<string | number, number>());
  const [measures, setMeasures] = useState(0);
  const [view, setView] = useState({ top: 0, height: 600 });
  const at = useRef(true);
  const key = useCallback((index: number) => rowKey?.(index) ?? index, [rowKey]);

  const uniform = typeof height === "number" ? height : null;
  const offsets = useMemo(() => {
    if (uniform !== null) return null;
    const sums = new Float64Array(count + 1);
    const of = height as (index: number) => number;
    for (let index = 0; index < count; index += 1) {
      const own = measured?.(index) ? sizes.current.get(key(index)) : undefined;
      sums[index + 1] = sums[index]! + (own ?? of(index));
    }
    return sums;
  }, [count, uniform, version, measures]);
  const total = uniform !== null ? count * uniform : offsets![count]!;
  const offset = (index: number): number => (uniform !== null ? index * uniform : offsets![index]!);
  const find = (y: number): number => {
    if (uniform !== null) return Math.min(count, Math.max(0, Math.floor(y / uniform)));
    let [low, high] = [0, count];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (offsets![middle + 1]! <= y) low = middle + 1;
      else high = middle;
    }
    return low;
  };

  const look = useCallback(() => {
    const node = box.current;
    if (node === null) return;
    const end = node.scrollTop + node.clientHeight >= node.scrollHeight - 24;
    if (end !== at.current) {
      at.current = end;
      props.onStick?.(end);
    }
    node.style.setProperty("--seen", `${node.clientWidth}px`);
    setView((old) =>
      old.top === node.scrollTop && old.height === node.clientHeight ? old : { top: node.scrollTop, height: node.clientHeight },
    );
  }, [props.onStick]);

  useEffect(() => {
    const node = box.current!;
    const watch = new ResizeObserver(look);
    watch.observe(node);
    return () => watch.disconnect();
  }, [look]);

  useLayoutEffect(() => {
    const node = box.current!;
    if (stick && at.current) node.scrollTop = node.scrollHeight;
    look();
  }, [count, total, stick, version]);

  useLayoutEffect(() => {
    if (props.goTo) box.current!.scrollTop = offset(Math.min(props.goTo.index, count));
  }, [props.goTo?.serial]);

  const first = Math.max(0, find(view.top) - OVER);
  const last = Math.min(count, find(view.top + view.height) + 1 + OVER);
  const top = find(view.top + 1);
  useEffect(() => props.onTop?.(top), [top]);

  const measure = (index: number, node: HTMLElement | null): void => {
    if (node === null || !measured?.(index)) return;
    const drawn = node.offsetHeight;
    if (drawn > 0 && sizes.current.get(key(index)) !== drawn) {
      sizes.current.set(key(index), drawn);
      setMeasures((n) => n + 1);
    }
  };

  const rows: VNode[] = [];
  for (let index = first; index < last; index += 1) {
    const dynamic = measured?.(index) ?? false;
    rows.push(
      <div key={key(index)} class="slot" style={{ top: `${offset(index)}px` }}
        ref={dynamic ? (node: HTMLElement | null) => measure(index, node) : null}>
        {render(index)}
      </div>,
    );
  }
  return (
    <div ref={box} style={props.fit ? { height: `${total + 18}px` } : undefined} class={`virtual ${props.class ?? ""}`} tabIndex={0} role={props.role ?? "group"} aria-label={props.label}
      aria-live={props.role === "log" ? "off" : undefined} onScroll={look} onKeyDown={props.onKeyDown}>
      <div class="inner" style={{ height: `${total}px`, minWidth: props.width ?? "auto" }}>{rows}</div>
    </div>
  );
}
