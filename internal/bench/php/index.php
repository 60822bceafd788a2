<?php

declare(strict_types=1);

// The front controller under php-fpm. nginx names the scenario; no request header can.
[$type, $body] = (require __DIR__ . '/scenarios/' . $_SERVER['SCENARIO'] . '.php')();

header('Content-Type: ' . $type);
echo $body;
