<?php

// Sends every message of a WebSocket back.

declare(strict_types=1);

require __DIR__ . '/../../../sdk/php/autoload.php';

use Edge\Http\Request;
use Edge\Http\Response;
use Edge\Http\Worker;

(new Worker())->serve(fn (Request $request): Response => $request->attribute('ws') === 'message'
    ? new Response(200, ['Content-Type' => 'text/plain'], $request->body)
    : new Response(204));
