// Package kind knows what a plugin is besides middleware.
package kind

// Other is set by the packages router, cron, ws and driver: then a plugin need not have a handler.
var Other bool
