<?php

// The demo that `make run` serves. Edit it while the server runs: the workers reload by themselves.

declare(strict_types=1);

require __DIR__ . '/../../sdk/php/autoload.php';

use Edge\Http\Request;
use Edge\Http\Response;
use Edge\Http\Worker;

$kv = new Edge\KV('demo');
$served = 0;

(new Worker())->serve(function (Request $request) use ($kv, &$served): Response {
    $began = hrtime(true);
    if (!in_array($request->path, ['/', '/json'], true)) {
        return new Response(404, ['Content-Type' => 'text/plain'], "Only / and /json are here.\n");
    }

    // Reading and writing are two calls: workers that answer at the same moment may count one visit together.
    $visits = ($kv->get('visits') ?? 0) + 1;
    $kv->set('visits', $visits);
    $served++;

    $page = [
        'protocol' => $request->protocol,
        'worker' => ['pid' => getmypid(), 'requests' => $served, 'php' => PHP_VERSION],
        'plugins' => plugins($request),
        'visits' => $visits,
        'microseconds' => intdiv(hrtime(true) - $began, 1000),
    ];

    return $request->path === '/json'
        ? new Response(200, ['Content-Type' => 'application/json'], json_encode($page, JSON_PRETTY_PRINT | JSON_UNESCAPED_SLASHES) . "\n")
        : new Response(200, ['Content-Type' => 'text/html; charset=utf-8'], html($page));
});

/**
 * What the wasm middleware in front of this worker wrote into the request: "plugin=stamp; lang=Go; spent=12".
 *
 * @return list<array<string, string>>
 */
function plugins(Request $request): array
{
    $plugins = [];
    foreach ($request->headers['X-Edge-Stamp'] ?? [] as $stamp) {
        parse_str(strtr($stamp, ['; ' => '&']), $fields);
        $plugins[] = $fields;
    }

    return $plugins;
}

/** @param array<string, mixed> $page */
function html(array $page): string
{
    $e = fn (mixed $text): string => htmlspecialchars((string) $text, ENT_QUOTES);
    $plugins = '';
    foreach ($page['plugins'] as $p) {
        $plugins .= "<li><b>{$e($p['plugin'] ?? '?')}</b> written in {$e($p['lang'] ?? '?')}, {$e($p['spent'] ?? '?')} µs in the sandbox</li>";
    }
    $plugins = $plugins ?: '<li>none ran</li>';
    $h3 = $page['protocol'] === 'HTTP/3.0';
    $hint = $h3 ? 'QUIC' : ($page['protocol'] === 'HTTP/2.0' ? 'TLS; h3 answers on the same port' : 'see https://localhost:8443 for h2 and h3');

    return <<<HTML
        <!doctype html>
        <html lang="en">
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width">
        <title>Edge</title>
        <style>
            body { font: 16px/1.5 system-ui, sans-serif; margin: 0; background: #10131a; color: #dfe6f1; }
            main { max-width: 52rem; margin: 0 auto; padding: 2rem 1rem; }
            h1 { font-size: 1.4rem; font-weight: 600; }
            h1 small { color: #7d8ba3; font-weight: 400; }
            section { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); gap: 1rem; }
            article { background: #191e29; border: 1px solid #273042; border-radius: .6rem; padding: 1rem 1.2rem; }
            h2 { font-size: .8rem; letter-spacing: .08em; text-transform: uppercase; color: #7d8ba3; margin: 0 0 .4rem; }
            .big { font-size: 2rem; font-weight: 600; color: #7ee0b0; }
            ul { margin: 0; padding-left: 1.1rem; }
            code { background: #273042; border-radius: .3rem; padding: .1rem .35rem; }
            a { color: #8ab8ff; }
        </style>
        <main>
        <h1>Edge is alive <small>reload the page; every part below answers anew</small></h1>
        <section>
            <article><h2>PHP worker</h2><div class="big">pid {$e($page['worker']['pid'])}</div>
                its request no. {$e($page['worker']['requests'])}, {$e($page['microseconds'])} µs in PHP {$e($page['worker']['php'])}</article>
            <article><h2>Wasm middleware</h2><ul>{$plugins}</ul></article>
            <article><h2>KV store</h2><div class="big">{$e($page['visits'])} visits</div>counted from PHP over RPC, kept in memory</article>
            <article><h2>Protocol</h2><div class="big">{$e($page['protocol'])}</div>{$e($hint)}</article>
        </section>
        <p>Try: <code>curl -s http://127.0.0.1:8080/json</code>, edit <code>examples/demo/worker.php</code>, drop a plugin into
        <code>plugins-wasm/</code>, <code>kill -9</code> the worker and reload this page.</p>
        </main>
        </html>
        HTML . "\n";
}
