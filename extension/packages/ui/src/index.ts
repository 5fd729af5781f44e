export { mount, type Capabilities, type Mounted, type MountOptions, type Place, type Theme } from "./mount.js";
export { ENGLISH, type Strings } from "./strings.js";
export { STYLES } from "./styles.js";
