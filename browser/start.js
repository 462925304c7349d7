// Converse.js, connected to the server that this page comes from. Everything else can be set as in its documentation.
import converse from "./node_modules/converse.js/dist/converse.min.js";

converse.initialize({
  websocket_url: `wss://${location.host}/ws`,
  // For browsers without WebSocket.
  bosh_service_url: `https://${location.host}/bosh`,
  assets_path: "/chat/node_modules/converse.js/dist/",
  view_mode: "fullscreen",
  default_domain: location.hostname,
  locked_domain: location.hostname,
  message_archiving: "always",
  auto_reconnect: true,
});
