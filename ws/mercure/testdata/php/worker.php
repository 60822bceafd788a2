<?php

// An application that publishes while it answers, in every way that there is: POST /own, /symfony-rpc and /symfony-http with the topic in
// the query and the data as body. GET /page has what a page needs to subscribe.

declare(strict_types=1);

use Edge\Http\Request;
use Edge\Http\Response;
use Edge\Http\Worker;
use Edge\Mercure;
use Edge\Symfony\MercureHub;
use Symfony\Component\Mercure\Hub;
use Symfony\Component\Mercure\Jwt\StaticTokenProvider;
use Symfony\Component\Mercure\Update;

error_reporting(E_ALL & ~E_DEPRECATED);
require getenv('EDGE_ROOT') . '/sdk/php/autoload.php';
require '/usr/share/php/Symfony/Component/Mercure/autoload.php';

$mercure = new Mercure(getenv('MERCURE_SECRET'));
(new Worker())->serve(static function (Request $r) use ($mercure): Response {
    $topic = $r->query['topic'] ?? '';
    try {
        $symfony = static fn () => new Hub($r->query['hub'], new StaticTokenProvider($mercure->token([], ['*'])));
        $update = static fn () => new Update([$topic, "$topic/alternate"], $r->body, true, null, 'changed', 1500);

        return match ($r->path) {
            '/own' => new Response(200, [], $mercure->publish([$topic], $r->body, private: true, id: 'urn:own', type: 'changed', retry: 2000)),
            '/symfony-rpc' => new Response(200, [], (new MercureHub($symfony(), $mercure))->publish($update())),
            '/symfony-http' => new Response(200, [], $symfony()->publish($update())),
            '/page' => new Response(200, ['Link' => [$mercure->link($topic)], 'Set-Cookie' => [$mercure->cookie([$topic], ['name' => 'Ada'], 60, false)]], ''),
            default => new Response(200, [], "the application got $r->path"),
        };
    } catch (Throwable $e) {
        return new Response(500, [], $e::class . ': ' . $e->getMessage());
    }
});
