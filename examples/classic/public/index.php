<?php

// A page as it is written for php-fpm: superglobals, a session, header() and exit.
session_start();
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);

if ($path === '/leave') {
    session_destroy();
    header('Location: /');
    exit;
}
if ($path !== '/') {
    http_response_code(404);
    exit('There is no ' . htmlspecialchars($path));
}
$_SESSION['visits'] = ($_SESSION['visits'] ?? 0) + 1;
?>
<!doctype html>
<link rel="stylesheet" href="/style.css">
<p>Visit <?= $_SESSION['visits'] ?>, answered by process <?= getmypid() ?>. <a href="/leave">Forget me</a></p>
