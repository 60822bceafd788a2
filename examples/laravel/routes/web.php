<?php

use App\Http\Controllers\PageController;
use Illuminate\Support\Facades\Route;

Route::get('/', [PageController::class, 'home']);
Route::get('/counter', [PageController::class, 'counter'])->name('counter');
Route::post('/forget', [PageController::class, 'forget']);
Route::get('/stream', [PageController::class, 'stream']);
Route::get('/download', [PageController::class, 'download']);
