<?php
// A worker of sdk/php that answers with the attributes of the request.

declare(strict_types=1);

use Edge\Http\Request;
use Edge\Http\Response;
use Edge\Http\Worker;

require __DIR__ . '/../../sdk/php/autoload.php';

(new Worker())->serve(static fn (Request $r): Response => new Response(200, [], json_encode(['Attributes' => $r->attributes])));
