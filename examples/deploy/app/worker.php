<?php

declare(strict_types=1);

// The image and the Debian package keep the SDK here; an application with Composer requires vendor/autoload.php. The second path is the checkout's.
require is_dir('/usr/share/edge/php') ? '/usr/share/edge/php/autoload.php' : __DIR__ . '/../../../sdk/php/autoload.php';

use Edge\Http\Request;
use Edge\Http\Response;
use Edge\Http\Worker;
use Edge\KV;

$sessions = new KV('sessions');
$cache = new KV('cache');

(new Worker())->serve(function (Request $request) use ($sessions, $cache): Response {
    $visits = $sessions->increment('visits');
    $since = $cache->get('since') ?? gmdate('c');
    $cache->set('since', $since, 3600);

    return new Response(200, ['Content-Type' => 'text/plain; charset=utf-8'], "Visit $visits; the cache remembers $since.\n");
});
