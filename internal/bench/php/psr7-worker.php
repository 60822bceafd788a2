<?php

declare(strict_types=1);

// The worker of an application that speaks PSR-7, here with the classes of nyholm/psr7.
use Edge\Http\Psr7Worker;
use Nyholm\Psr7\Response;
use Psr\Http\Message\ResponseInterface;
use Psr\Http\Message\ServerRequestInterface;

require __DIR__ . '/../../../sdk/php/autoload.php';
require 'Nyholm/Psr7/autoload.php'; // Debian's package; its folder is in PHP's include_path

$scenarios = require __DIR__ . '/scenarios.php';

(new Psr7Worker())->serve(static function (ServerRequestInterface $request) use ($scenarios): ResponseInterface {
    [$type, $body] = $scenarios[$request->getUri()->getPath()](static fn (): string => (string) $request->getBody());

    return new Response(200, ['Content-Type' => $type], $body);
});
