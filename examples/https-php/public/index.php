<?php

header('Content-Type: text/plain; charset=utf-8');
printf("Hello from PHP %d.%d over %s: %s\n", PHP_MAJOR_VERSION, PHP_MINOR_VERSION, $_SERVER['SERVER_PROTOCOL'], ($_SERVER['HTTPS'] ?? '') === 'on' ? 'HTTPS' : 'no HTTPS');
