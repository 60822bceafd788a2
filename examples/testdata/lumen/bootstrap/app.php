<?php

use Illuminate\Http\Request;

$app = new Laravel\Lumen\Application(dirname(__DIR__));
$app->withFacades();
$app->singleton('visits', fn () => new ArrayObject());

$app->router->get('/', fn () => $app->version());
$app->router->get('/hello/{name}', fn (string $name) => response()->json(['hello' => $name]));
$app->router->post('/echo', fn (Request $request) => response()->json(['input' => $request->all(), 'path' => $request->path(), 'helper' => app('request')->path()]));
$app->router->post('/upload', fn (Request $request) => response()->json([
    'name' => $request->file('file')->getClientOriginalName(), 'valid' => $request->file('file')->isValid(), 'md5' => md5_file($request->file('file')->getPathname()),
]));
$app->router->get('/visits', function () {
    app('visits')->append(1);

    return (string) count(app('visits'));
});
$app->router->get('/broken', fn () => throw new DomainException('the route broke'));

return $app;
