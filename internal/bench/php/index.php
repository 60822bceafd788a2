<?php

declare(strict_types=1);

// The front controller for servers that start PHP anew for every request. nginx names the scenario, as no header of a request can;
// where it does not, the path has to be a plain name.
$scenario = $_SERVER['SCENARIO'] ?? substr($_SERVER['REQUEST_URI'], 1);
if (strspn($scenario, 'abcdefghijklmnopqrstuvwxyz0123456789-') !== strlen($scenario)) {
    http_response_code(404);
    exit;
}
[$type, $body] = (require __DIR__ . "/scenarios/$scenario.php")(
    static fn (): string => file_get_contents('php://input'),
);

header('Content-Type: ' . $type);
echo $body;
