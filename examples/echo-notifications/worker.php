<?php

declare(strict_types=1);

// With Composer it is vendor/autoload.php alone; the second path lets the example run from a checkout without Composer.
require is_file(__DIR__ . '/vendor/autoload.php') ? __DIR__ . '/vendor/autoload.php' : __DIR__ . '/../../sdk/php/autoload.php';

use Edge\Broadcast;
use Edge\Broadcast\Signer;
use Edge\Http\Request;
use Edge\Http\Response;
use Edge\Http\Worker;

$secret = getenv('APP_SECRET');
$broadcast = new Broadcast('main');
$signer = new Signer('app-key', $secret);

/** Who is signed in: the cookie has a name and its signature. A Laravel application asks Auth::user(). */
$user = function (Request $request) use ($secret): ?string {
    [$name, $signature] = explode('.', $request->cookies['user'] ?? '', 2) + ['', ''];

    return $name !== '' && hash_equals(hash_hmac('sha256', "user:$name", $secret), $signature) ? $name : null;
};

(new Worker())->serve(function (Request $request) use ($broadcast, $signer, $secret, $user): Response {
    $form = $request->form;
    if ($request->path === '/login') {
        $name = strtolower((string) ($form['name'] ?? ''));
        if (!preg_match('/^[a-z]{1,20}$/D', $name)) {
            return Response::text('a name has 1 to 20 letters', 422);
        }
        $signature = hash_hmac('sha256', "user:$name", $secret);

        return Response::json(['name' => $name], 200, ['Set-Cookie' => "user=$name.$signature; Path=/; HttpOnly; SameSite=Lax"]);
    }
    if (null === $me = $user($request)) {
        return Response::text('sign in first', 401);
    }
    if ($request->path === '/broadcasting/auth') {
        // What routes/channels.php says in Laravel: everybody has a channel of their own, and no other.
        $channel = (string) ($form['channel_name'] ?? '');

        return $channel === "private-App.Models.User.$me"
            ? Response::json($signer->channel((string) ($form['socket_id'] ?? ''), $channel))
            : Response::text('not your channel', 403);
    }
    $to = strtolower((string) ($form['to'] ?? ''));
    $text = trim((string) ($form['text'] ?? ''));
    if (!preg_match('/^[a-z]{1,20}$/D', $to) || $text === '' || strlen($text) > 2000) {
        return Response::text('say to whom, and something', 422);
    }
    // The event and its fields are those of Laravel's notifications: echo.private(…).notification(…) listens to them.
    $broadcast->publish("private-App.Models.User.$to", 'Illuminate\\Notifications\\Events\\BroadcastNotificationCreated', [
        'id' => bin2hex(random_bytes(16)), 'type' => 'App\\Notifications\\Message', 'from' => $me, 'text' => $text,
    ]);

    return new Response(204);
});
