// Who answers: the service that this page came from. A folder of `catdog export --to web` has local.js here instead.

export { Engine } from "./remote.js";
