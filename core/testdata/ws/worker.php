<?php

// What the tests of ws.raw ask of PHP: an echo, a room, and the ends of a connection.

declare(strict_types=1);

require getenv('SDK') . '/autoload.php';

use Edge\Http\Request;
use Edge\Http\Response;
use Edge\Http\Worker;

$rpc = new Edge\RPC();

(new Worker())->serve(function (Request $request) use ($rpc): Response {
    $conn = $request->attribute('ws_connection');
    switch ($request->attribute('ws')) {
        case 'connect':
            if (($request->query['token'] ?? '') === 'wrong') {
                return new Response(401, ['Content-Type' => 'text/plain', 'WWW-Authenticate' => 'Bearer'], 'no');
            }
            if (($request->query['token'] ?? '') === 'json') {
                return new Response(403, ['Content-Type' => 'application/json'], '{"no":true}');
            }
            if (isset($request->query['room'])) {
                $rpc->call('ws.Subscribe', ['app' => 'chat', 'conn' => $conn, 'channel' => $request->query['room']]);
            }
            return new Response(204, isset($request->query['user']) ? ['X-Ws-User' => $request->query['user']] : []);
        case 'message':
            if ($request->attribute('ws_kind') === 'binary') {
                return new Response(200, ['Content-Type' => 'application/octet-stream'], strrev($request->body));
            }
            if ($request->body === 'attributes') {
                return Response::json([
                    'user' => $request->attribute('ws_user'), 'role' => $request->attribute('ws:role'), 'groups' => $request->attribute('ws:groups'),
                    'uri' => preg_replace('~^http://[^/]+~', '', $request->uri),
                ]);
            }
            if ($request->body === 'die') {
                exit(1);
            }
            if ($request->body === 'bye') {
                return new Response(200, ['X-Ws-Close' => '4001 as you wish'], 'goodbye');
            }
            if (str_starts_with($request->body, 'say ')) {
                $rpc->call('ws.Publish', ['app' => 'chat', 'channel' => 'hall', 'data' => substr($request->body, 4), 'except' => $conn]);
                return new Response(204);
            }
            return new Response(200, ['Content-Type' => 'text/plain'], $request->body);
        case 'disconnect':
            $rpc->call('ws.Publish', ['app' => 'chat', 'channel' => 'hall', 'data' => 'left with ' . $request->attribute('ws_code')]);
            return new Response(204);
    }
    return new Response(404, [], 'no event');
});
