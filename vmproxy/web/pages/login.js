// The page where operators log in; it leads back to where they wanted to go.

import { byId } from "./dom.js";
import { loginForm, start } from "./shell.js";
import { landing } from "./landing.js";

start({ needsLogin: false });
byId("login", HTMLDivElement).append(loginForm(() => location.replace(landing(location.search))));
