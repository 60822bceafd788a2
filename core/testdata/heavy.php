<?php

// What large and slow requests meet: bodies and files that are hashed piece by piece, answers that are long.

declare(strict_types=1);

require $_SERVER['EDGE_TEST_SDK'] . '/autoload.php';

use Edge\Http\Request;
use Edge\Http\Response;
use Edge\Http\Worker;

/** @param resource $stream */
$summary = static function ($stream): string {
    $hash = hash_init('crc32b');
    $size = hash_update_stream($hash, $stream);

    return $size . ' ' . hash_final($hash);
};

// The same 64 KiB again and again, each with its number in front: a piece that is lost or moved changes the sum.
$pieces = static function (int $bytes): Generator {
    $rest = str_repeat('x', (64 << 10) - 8);
    for ($n = 0; $n < $bytes >> 16; $n++) {
        yield pack('P', $n) . $rest;
    }
};

(new Worker())->serve(static function (Request $request) use ($summary, $pieces): Response {
    switch ($request->path) {
        case '/ping':
            return Response::text($request->query['token']);
        case '/body':
            return Response::text($summary($request->bodyStream()));
        case '/upload':
            $file = $request->files['file'];
            $moved = getcwd() . '/moved';
            rename($file->path, $moved);
            $text = $request->form['title'] . ' ' . $summary(fopen($moved, 'rb'));
            unlink($moved);

            return Response::text($text);
        case '/download':
            return new Response(200, ['Content-Type' => 'application/octet-stream'], $pieces((int) $request->query['bytes']));
        case '/file':
            return new Response(200, ['X-Sendfile' => $request->query['name'], 'Content-Type' => 'application/octet-stream']);
        case '/whole': // one frame, as large as it is
            return new Response(200, [], str_repeat('x', (int) $request->query['bytes']));
    }

    return Response::text('no such path', 404);
});
