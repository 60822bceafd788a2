<?php

// An application that publishes while it answers: POST /publish?channel=…&event=… sends its body.

declare(strict_types=1);

use Edge\Broadcast;
use Edge\Http\Request;
use Edge\Http\Response;
use Edge\Http\Worker;

require getenv('EDGE_ROOT') . '/sdk/php/autoload.php';

$broadcast = new Broadcast();
(new Worker())->serve(static function (Request $r) use ($broadcast): Response {
    if ($r->path !== '/publish') {
        return new Response(200, [], "the application got $r->path");
    }
    $broadcast->publish($r->query['channel'], $r->query['event'], $r->body, $r->header('X-Socket-ID'));

    return new Response(200, [], json_encode($broadcast->channel($r->query['channel'], 'subscription_count')));
});
