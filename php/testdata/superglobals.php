<?php

declare(strict_types=1);

// What PHP itself makes of a request, run by php-cgi; as a worker (EDGE_WORKER=1), what sdk/php makes of it. Both print the same text.

/** The tree of files with name, type, size, error and content as leaves: PHP has one tree for each of them. */
function leaves(mixed $name, mixed $type, mixed $size, mixed $error, mixed $path): array
{
    if (!is_array($name)) {
        return [$name, $type, $size, $error, $path === '' ? '' : file_get_contents($path)];
    }
    $tree = [];
    foreach ($name as $key => $_) {
        $tree[$key] = leaves($name[$key], $type[$key], $size[$key], $error[$key], $path[$key]);
    }

    return $tree;
}

function text(string $method, array $cookies, array $form, array $files, string $body): string
{
    return "$method\ncookies " . var_export($cookies, true) . "\nform " . var_export($form, true) . "\nfiles " . var_export($files, true) . "\nbody " . var_export($body, true);
}

if (getenv('EDGE_WORKER') !== '1') {
    $body = file_get_contents('php://input');
    $form = $_POST;
    if (in_array($_SERVER['REQUEST_METHOD'], ['PUT', 'PATCH', 'DELETE'], true) && str_starts_with($_SERVER['CONTENT_TYPE'], 'application/x-www-form-urlencoded')) {
        parse_str($body, $form); // as Symfony and Laravel do
    }
    $files = array_map(static fn (array $f): array => leaves($f['name'], $f['type'], $f['size'], $f['error'], $f['tmp_name']), $_FILES);
    echo text($_SERVER['REQUEST_METHOD'], $_COOKIE, $form, $files, $body);

    return;
}

require __DIR__ . '/../../sdk/php/autoload.php';

(new Edge\Http\Worker())->serve(static function (Edge\Http\Request $r): Edge\Http\Response {
    $files = $r->files;
    array_walk_recursive($files, static function (&$file): void {
        $file = [$file->clientName, $file->clientType, $file->size, $file->error, $file->path === '' ? '' : file_get_contents($file->path)];
    });

    return Edge\Http\Response::text(text($r->method, $r->cookies, $r->form, $files, $r->body));
});
