// A router: old addresses are redirected, an API moves, the rest is left to the routes of edge.yaml.
import { log, onRoute } from "@edge-server/guest";

export * from "@edge-server/guest/router";

onRoute((req, router) => {
  router.cache("path,query", 60000); // the same address gets the same decision without a call
  const uri = req.uri;
  if (uri.startsWith("/old/")) return router.redirect(308, "/new/" + uri.substring(5)).ok;
  if (uri.startsWith("/api/v1/")) {
    router.rewrite(uri.substring(4));
    const to = router.to("api");
    if (!to.ok) log.warn(to.message);
    return to.ok;
  }
  return req.path == "/teapot" && router.status(418).ok;
});
