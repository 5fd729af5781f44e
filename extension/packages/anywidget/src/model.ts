/** The part of anywidget's model that the console uses. */
export interface Model {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  save_changes(): void;
  send(content: unknown): void;
  on(name: string, call: (...args: never[]) => void): void;
  off(name: string, call?: (...args: never[]) => void): void;
}
