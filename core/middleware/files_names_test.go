package middleware

import "testing"

// TestNamesOfSources: what has the name of a program in it, with whatever was appended, is never served.
func TestNamesOfSources(t *testing.T) {
	for _, name := range []string{
		"wp-config.php_bak", "wp-config.php-backup", "index.php_old", "index.php,v", "config.php0", "page.php1", "page.php-2024", "page.php#", "index.php(1)", "index.php (1)",
		"x.php%", "x.PHP_bak", "x.php.html", "x.phtml1", "x.php.gz", "error_log", "error_log.1", "Error_Log", "access_log.2.gz", "env.local", "env.production.gz", "id_rsa", "id_ed25519",
		"a.bak.gz", "a.old.1", "x.inc.zip", "x.php5-", "x.env.2",
	} {
		if !isSource(name) {
			t.Errorf("%q would be served", name)
		}
	}
	for _, name := range []string{
		"page.html", "jquery.old.js", "a.phpx", "php", "php.txt", "php-manual.html", "about-php.html", "env.js", "id_rsa.pub", "error_log_page.html", "archive.tar.gz", "v1.2.3", "x.1.gz",
		"incoming.txt", "index.phpinfo.html", "environment.local",
	} {
		if isSource(name) {
			t.Errorf("%q would not be served", name)
		}
	}
	for _, name := range []string{"x.log", "x.log.1", "access.log.2.gz", "x.sql.gz", "dump.sql.1", "x.db", "server.key", "sub/server.KEY", "a.p12", "artisan", "x.sqlite.zip"} {
		if !isPrivate(name) {
			t.Errorf("%q would be served beside scripts", name)
		}
	}
	for _, name := range []string{"catalog.html", "keys.html", "a.db.html", "logo.gz", "package.1"} {
		if isPrivate(name) {
			t.Errorf("%q would not be served beside scripts", name)
		}
	}
}
