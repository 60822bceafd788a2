<?php

use Illuminate\Database\Events\QueryExecuted;
use Illuminate\Http\Request;
use Illuminate\Pagination\LengthAwarePaginator;
use Illuminate\Support\Carbon;
use Illuminate\Support\Facades\App;
use Illuminate\Support\Facades\Auth;
use Illuminate\Support\Facades\Cookie;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Event;
use Illuminate\Support\Facades\Route;
use Illuminate\Support\Facades\URL;
use Illuminate\Support\Facades\Validator;
use Illuminate\Support\Facades\View;

// What only the tests ask for.
Route::get('/after', static function (Request $request) {
    $go = $request->query('go');
    App::terminating(static function () use ($go): void {
        for ($deadline = time() + 20; !is_file($go) && time() < $deadline; clearstatcache()) {
            usleep(5000);
        }
        file_put_contents("$go.done", is_file($go) ? 'went on' : 'waited in vain');
    });

    return 'answered';
});
Route::get('/die', static fn () => exit(3));
Route::get('/memory', static function () {
    gc_collect_cycles();

    return ['bytes' => memory_get_usage(), 'pid' => getmypid()];
});
Route::get('/page', static fn () => (new LengthAwarePaginator(['a'], 30, 10)));
Route::get('/transaction', static function () {
    $db = app('db')->connection();
    $level = $db->transactionLevel();
    $db->beginTransaction();

    return ['level' => $level];
});

// Everything that a request can see of another, and that it changes after it has looked. Every answer is the same.
Route::get('/stains', static function (Request $request) {
    $seen = [
        'user' => Auth::user()?->getAuthIdentifier(),
        'proxies' => Request::getTrustedProxies(),
        'guard' => Auth::getDefaultDriver(),
        'zone' => date_default_timezone_get(),
        'now' => Carbon::hasTestNow(),
        'root' => url('/x'),
        'listeners' => count(Event::getListeners('stain')) + count(Event::getListeners('wild.stain')),
        'rule' => Validator::make(['a' => 'x'], ['a' => 'required'])->passes() && !array_key_exists('stained', Validator::make([], [])->extensions),
        'composer' => view('home', ['name' => 'x'])->render(),
        'shared' => View::shared('stain'),
        'cookie' => Cookie::make('a', 'b')->getPath(),
        'queued' => count(Cookie::getQueuedCookies()),
        'database' => config('database.connections.sqlite.stain'),
        'tables' => array_column(DB::select("select name from sqlite_master where type = 'table'"), 'name'),
        'cached' => cache()->store()->getStore()::class,
        'listening' => Event::hasListeners(QueryExecuted::class),
        'fullUrl' => app('stain.of.the.provider'),
        'group' => app('router')->getMiddlewareGroups()['api'],
        'here' => Route::currentRouteName() ?? '',
        'carried' => app('redirect')->getUrlGenerator() === app('url'),
    ];
    Request::setTrustedProxies(['127.0.0.0/8', '::1'], Request::HEADER_X_FORWARDED_FOR);
    Auth::setUser(new Illuminate\Auth\GenericUser(['id' => 7]));
    Auth::shouldUse('other');
    date_default_timezone_set('Asia/Tokyo');
    Carbon::setTestNow('2001-01-01');
    URL::forceRootUrl('https://stain.example');
    URL::defaults(['stain' => 'x']);
    Event::listen('stain', static fn () => null);
    Event::listen('wild.*', static fn () => null);
    Event::dispatch('wild.stain');
    Validator::extend('stained', static fn () => false);
    View::composer('home', static fn ($view) => $view->with('name', 'STAIN'));
    View::share('stain', 'x');
    Cookie::setDefaultPathAndDomain('/stain', null);
    Cookie::queue('stain', 'x');
    // Another tenant, with a database and a cache of its own.
    config(['database.connections.sqlite.stain' => 'x', 'cache.default' => 'array']);
    DB::purge('sqlite');
    DB::statement('create table stain (a int)');
    DB::listen(static fn () => null);
    cache()->store()->put('stain', 'x');
    app('router')->pushMiddlewareToGroup('api', 'stain');

    return $seen;
});
Route::get('/home/{name}', static fn (string $name) => redirect()->route('counter')->with('status', $name));
Route::get('/url', static fn () => ['url' => app('stain.of.the.provider'), 'generated' => url('/a'), 'kept' => app('keeps.url')->to('/a')]);
